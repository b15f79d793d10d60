"""Made-up traffic with its own ledger: what was sent, and what must come of it, counted apart from the job."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from confluent_kafka import Producer

TOPICS = {"view": "view-events", "add_to_cart": "add-to-cart-events", "purchase": "purchase-events"}
DEFAULT_WEIGHTS = {"view": 1, "add_to_cart": 3, "purchase": 5}


@dataclass
class Ledger:
    """Everything that was acknowledged. Events are counted by user, tag and type, each id once."""

    counts: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Counter))
    )
    products: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    purchases: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    ids: set[str] = field(default_factory=set)
    records: int = 0
    applied: int = 0
    poison: list[tuple[str, bytes | None]] = field(default_factory=list)

    def book(self, event: dict[str, object], kind: str) -> None:
        """Count one event that was sent."""
        self.records += 1
        identity = str(event["event_id"])
        if identity in self.ids:
            return
        self.ids.add(identity)
        self.applied += 1
        user, product = str(event["user_id"]), str(event["product_id"])
        tags = event["tags"]
        assert isinstance(tags, list)
        for tag in set(tags):
            self.counts[user][tag][kind] += 1
        self.products[product][kind] += 1
        if kind == "purchase":
            self.purchases[user].add(product)

    def profiles(self, weights: dict[str, float]) -> dict[str, dict[str, float]]:
        """The whole of ``user:profile:*`` that must be in Redis."""
        return {
            user: {tag: sum(weights[kind] * n for kind, n in counts.items()) for tag, counts in tags.items()}
            for user, tags in self.counts.items()
        }


class Traffic:
    """Sends events in no order of time, some of them several times, with poison in between."""

    def __init__(self, bootstrap: str, seed: int) -> None:
        self.ledger = Ledger()
        self._random = random.Random(seed)
        self._producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True})
        self._seed = seed
        self._made = 0

    def send(self, count: int, users: int = 200) -> None:
        """Send ``count`` fresh events, about a fifth of them again, shuffled, and wait for the acknowledgements."""
        records = []
        for _ in range(count):
            event, kind = self._event(users)
            records += [(event, kind)] * self._random.choice((1, 1, 1, 1, 2))
        self._random.shuffle(records)
        for event, kind in records:
            value = json.dumps(event).encode()
            self._producer.produce(TOPICS[kind], value, str(event["user_id"]).encode())
            self.ledger.book(event, kind)
            self._producer.poll(0)
        self._acknowledged()

    def poison(self, topic: str, values: list[bytes | None]) -> None:
        """Send records that no parser should take."""
        for value in values:
            self._producer.produce(topic, value, None)
            self.ledger.records += 1
            self.ledger.poison.append((topic, value))
        self._acknowledged()

    def _event(self, users: int) -> tuple[dict[str, object], str]:
        self._made += 1
        kind = self._random.choices(list(TOPICS), (80, 12, 8))[0]
        event: dict[str, object] = {
            "event_id": f"{self._seed}-{self._made}",
            "user_id": f"user-{int(users * self._random.random() ** 2)}",
            "product_id": f"product-{self._random.randrange(60)}",
            "event_type": kind,
            "timestamp": self._random.randrange(1_500_000_000_000, 1_700_000_000_000),
            "tags": [f"tag-{self._random.randrange(30)}" for _ in range(self._random.randrange(1, 4))],
        }
        return event, kind

    def _acknowledged(self) -> None:
        left = self._producer.flush(60)
        assert not left, f"{left} records were not acknowledged"
