"""Stand-ins for the service's clients, for tests: users, statistics and Kafka in memory, faults on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from recsvc.errors import IngestUnavailable, StoreUnavailable
from recsvc.ingest import Message, Placed
from recsvc.ops.log_offsets import TopicOffsets, shown_letter
from recsvc.settled_records import Record
from recsvc.statistics import Collected, Snapshot
from recsvc.user_store import NOBODY, StoredUser


@dataclass
class MemoryUserStore:
    """Users in a dict; fulfils :class:`recsvc.user_store.UserStore`."""

    users: dict[str, StoredUser] = field(default_factory=dict)
    events: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    products: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    vectors: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = field(default_factory=dict)
    up: bool = True

    @property
    def available(self) -> bool:
        """Whether it is up."""
        return self.up

    def product(self, product_id: str) -> tuple[str | None, str | None]:
        """Read a product's row and details."""
        self._require()
        return self.products.get(product_id, (None, None))

    def items(self, user_id: str) -> Mapping[str, str]:
        """Read one user's counts by product."""
        self._require()
        return self.users.get(user_id, NOBODY).items

    def details(self, product_ids: Sequence[str]) -> list[str | None]:
        """Read the details of products."""
        self._require()
        return [self.products.get(each, (None, None))[1] for each in product_ids]

    def user(self, user_id: str, *, arrivals: bool = False, items: bool = False, ratings: bool = False) -> StoredUser:
        """Read one user."""
        self._require()
        found = self.users.get(user_id, NOBODY)
        return replace(
            found,
            arrivals=found.arrivals if arrivals else (),
            items=found.items if items else {},
            ratings=found.ratings if ratings else {},
        )

    def recent(self, user_id: str, first: int, last: int) -> list[tuple[str, int]]:
        """Read the newest events, which a test gives in that order."""
        self._require()
        events = self.events.get(user_id, [])
        return events[first:] if last < 0 else events[first : last + 1]

    def histories(self, user_ids: Sequence[str], before_ms: int, most: int) -> list[list[tuple[str, int]]]:
        """Read the newest events before a time."""
        self._require()
        return [[each for each in self.events.get(user_id, []) if each[1] < before_ms][:most] for user_id in user_ids]

    def some_users(self, draws: int) -> list[str]:
        """Give the first of those who have events."""
        self._require()
        return list(self.events)[:draws]

    def ratings(self, user_id: str) -> Mapping[str, str]:
        """Read one user's ratings."""
        return self.user(user_id, ratings=True).ratings

    def interests(self, user_id: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Read a vector and what it was made of."""
        self._require()
        return self.vectors.get(user_id, ({}, {}))

    def counts(self, user_ids: Sequence[str]) -> list[Mapping[str, str]]:
        """Read several users."""
        self._require()
        return [self.users.get(each, NOBODY).rows for each in user_ids]

    def ping(self) -> bool:
        """Whether it is up."""
        return self.up

    def _require(self) -> None:
        if not self.up:
            raise StoreUnavailable("Redis is away")


@dataclass
class MemoryStatistics:
    """Statistics that a test puts together."""

    collected: Collected
    loaded: bool = True
    _snapshot: Snapshot | None = None

    @property
    def snapshot(self) -> Snapshot:
        """What was collected when ``publish`` was called last."""
        return self._snapshot or self.publish()

    def publish(self) -> Snapshot:
        """Show what is collected."""
        self._snapshot = self.collected.snapshot()
        return self._snapshot


@dataclass
class MemoryEventPublisher:
    """A log in a list; fulfils :class:`recsvc.ingest.EventPublisher`."""

    messages: list[Message] = field(default_factory=list)
    up: bool = True

    def publish(self, messages: Sequence[Message]) -> list[Placed | IngestUnavailable]:
        """Append the messages, unless it is down."""
        if not self.up:
            return [IngestUnavailable("Kafka is away") for _ in messages]
        placed: list[Placed | IngestUnavailable] = []
        for message in messages:
            placed.append(Placed(message.topic, 0, len(self.messages)))
            self.messages.append(message)
        return placed

    def stop(self) -> None:
        """Do nothing."""


@dataclass
class MemorySettledRecords:
    """The job's offset into a publisher's list; fulfils :class:`recsvc.settled_records.SettledRecords`."""

    log: MemoryEventPublisher
    settled_upto: int = 0

    def is_settled(self, place: Placed) -> bool:
        """Whether the job has committed more."""
        if not self.log.up:
            raise IngestUnavailable("Kafka is away")
        return self.settled_upto > place.offset

    def record(self, place: Placed) -> Record | None:
        """Read one."""
        if place.partition or place.offset >= len(self.log.messages):
            return None
        return Record(self.log.messages[place.offset].value, 1_600_000_000_000)

    def stop(self) -> None:
        """Nothing to let go of."""


@dataclass
class MemoryLogOffsets:
    """Offsets and dead letters as they are given; fulfils :class:`recsvc.ops.log_offsets.LogOffsets`."""

    known: dict[str, TopicOffsets] = field(default_factory=dict)
    letters: list[bytes] = field(default_factory=list)
    up: bool = True

    def offsets(self, topics: Sequence[str]) -> dict[str, TopicOffsets]:
        """Give what is known."""
        if not self.up:
            raise IngestUnavailable("Kafka does not answer")
        return {name: self.known[name] for name in topics if name in self.known}

    def tail(self, topic: str, most: int) -> list[dict[str, Any]]:  # noqa: ARG002  there is one
        """Show the last letters."""
        if not self.up:
            raise IngestUnavailable("Kafka does not answer")
        shown = [shown_letter(each, 0, place, 1_700_000_000_000 + place) for place, each in enumerate(self.letters)]
        return shown[::-1][:most]
