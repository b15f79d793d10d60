"""What was sent, and what must come of it: counted apart from the job, from the documents alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from faults.errors import DoesNotHold

TOPICS = {
    "view": "view-events",
    "add_to_cart": "add-to-cart-events",
    "purchase": "purchase-events",
    "wishlist": "wishlist-events",
}
EXTRA_EVENT_TYPES = "wishlist:wishlist-events"
MOST_TAGS_PER_USER = 24
"""Fewer than the thirty that traffic draws from, so that tags leave and come back all the time."""
MOST_PRODUCTS_PER_USER = 40
"""Fewer than the sixty that traffic draws from."""
RECENT_EVENTS = 30
"""Fewer than many users have."""
DEFAULT_WEIGHTS: dict[str, float] = {"view": 1, "add_to_cart": 3, "purchase": 5, "wishlist": 0}


@dataclass
class Row:
    """Events by type, the newest one's time, and those that say how long they took, with the sum of that."""

    counts: Counter[str] = field(default_factory=Counter)
    newest_ms: int = 0
    timed: int = 0
    took_ms: int = 0

    def add(self, kind: str, time_ms: int, took_ms: int | None = None) -> None:
        """Count one event."""
        self.counts[kind] += 1
        self.newest_ms = max(self.newest_ms, time_ms)
        if took_ms is not None:
            self.timed += 1
            self.took_ms += took_ms

    def columns(self) -> list[int]:
        """The counts, in the order of the event types."""
        return [self.counts[kind] for kind in TOPICS]


@dataclass
class Ledger:
    """Everything that was acknowledged. Events are counted by user, tag and type, each id once."""

    users: dict[str, dict[str, Row]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Row)))
    items: dict[str, dict[str, Row]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Row)))
    products: dict[str, Row] = field(default_factory=lambda: defaultdict(Row))
    tags: dict[str, Row] = field(default_factory=lambda: defaultdict(Row))
    purchases: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    tags_seen: dict[str, set[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(set))
    ids: set[str] = field(default_factory=set)
    read: Counter[str] = field(default_factory=Counter)
    applied: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    in_doubt: Counter[str] = field(default_factory=Counter)
    recent: dict[str, Counter[tuple[int, str, str]]] = field(default_factory=lambda: defaultdict(Counter))
    duplicates: int = 0
    untagged: int = 0
    poison: list[bytes | None] = field(default_factory=list)
    catalogue: dict[str, list[str]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    version: int = 0

    def book(self, event: dict[str, object], kind: str) -> None:
        """Count one event that was sent."""
        self.read[TOPICS[kind]] += 1
        identity = event.get("event_id")  # without one, each record is an event of its own
        if identity in self.ids:
            self.duplicates += 1
            return
        if identity is not None:
            self.ids.add(str(identity))
        self.applied[kind] += 1
        user, product, time_ms = str(event["user_id"]), str(event["product_id"]), int(str(event["timestamp"]))
        self.recent[user][time_ms, kind, product] += 1
        tags = self.tags_of(event)
        for tag in tags:
            self.users[user][tag].add(kind, time_ms)
            self.tags[tag].add(kind, time_ms)
        self.products[product].add(kind, time_ms)
        metadata = event.get("metadata")
        took_ms = metadata.get("duration_ms") if isinstance(metadata, dict) else None
        self.items[user][product].add(kind, time_ms, took_ms if isinstance(took_ms, int) else None)
        if tags:
            self.tags_seen[product].add(tags)
        else:
            self.untagged += 1
        if kind == "purchase":
            self.purchases[user].add(product)

    def tags_of(self, event: dict[str, object]) -> tuple[str, ...]:
        """The event's own tags, each once, or the catalogue's where it names none."""
        tags = event.get("tags")
        if tags is None:
            return tuple(self.catalogue.get(str(event["product_id"]), ()))
        assert isinstance(tags, list)
        return tuple(dict.fromkeys(tags))

    def book_poison(self, topic: str, value: bytes | None, reason: str) -> None:
        """Count one record that no parser should take."""
        self.read[topic] += 1
        self.dead[reason] += 1
        self.poison.append(value)

    def settle(self, ends: Mapping[str, int]) -> None:
        """Count as duplicates what Kafka holds beyond what was booked, as far as it is in doubt.

        ``in_doubt`` counts by topic how often an event was sent without an acknowledgement, and then again under the
        same id: each time it may have been written, or not. ``ends`` are the records of each topic.

        Raises:
            DoesNotHold: A topic holds more or less than that allows.
        """
        for topic in TOPICS.values():
            more = ends.get(topic, 0) - self.read[topic]
            if not 0 <= more <= self.in_doubt[topic]:
                raise DoesNotHold(
                    f"{topic} holds {ends.get(topic, 0)} records; {self.read[topic]} were acknowledged, and "
                    f"{self.in_doubt[topic]} are in doubt"
                )
            if more:
                self.read[topic] += more
                self.duplicates += more
            self.in_doubt.pop(topic, None)

    def book_weights(self, weights: dict[str, float], version: int) -> None:
        """Remember the weights that were accepted last; a further type that they leave out weighs nothing."""
        assert version > self.version, "the version grows with each accepted document"
        self.weights, self.version = {**dict.fromkeys(TOPICS, 0), **weights}, version

    @property
    def records(self) -> int:
        """Records sent to all topics."""
        return self.read.total()

    def kept(self, user: str) -> dict[str, Row]:
        """The tags of a user that must be there: those of the most events, the first names among equals."""
        return _first(self.users[user], MOST_TAGS_PER_USER)

    def kept_items(self, user: str) -> dict[str, Row]:
        """The products of a user that must be there, by the same rule."""
        return _first(self.items[user], MOST_PRODUCTS_PER_USER)

    @property
    def too_many(self) -> int:
        """Tags that users have beyond those that are kept."""
        return sum(len(rows) - len(self.kept(user)) for user, rows in self.users.items())

    def scores(self, user: str) -> dict[str, float]:
        """What the user's profile must hold under the weights in force."""
        return {tag: score(row.columns(), list(self.weights.values())) for tag, row in self.kept(user).items()}


def _first(rows: Mapping[str, Row], most: int) -> dict[str, Row]:
    return dict(sorted(rows.items(), key=lambda item: (-item[1].counts.total(), item[0]))[:most])


def score(counts: Sequence[int], weights: Sequence[float]) -> float:
    """Counts · weights."""
    return sum(count * weight for count, weight in zip(counts, weights, strict=True))
