"""Made-up events on their way to Kafka, each booked in the ledger."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from confluent_kafka import Producer

from faults.errors import DoesNotHold
from faults.ledger import TOPICS, Ledger
from faults.poison import POISON, Poison

Event = dict[str, object]
_SHARES = (74, 12, 8, 6)
LONG_AGO_AND_LATELY = (1_500_000_000_000, 1_700_000_000_000)
_MOST_SECONDS = 240


class Traffic:
    """Sends events in no order of time, some of them several times, some without an id, with poison in between.

    What it draws follows from the seed and from the name given to ``begin``.
    """

    def __init__(self, bootstrap: str, seed: int, poison: Sequence[Poison] = POISON) -> None:
        self.ledger = Ledger()
        self.lock = threading.RLock()
        """Held while the ledger changes: events may come from several threads."""
        self._settings = {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "message.max.bytes": 1_040_000,  # the broker's own limit is a little above
            "log_level": 0,
        }
        self._producer = Producer(self._settings)
        self._seed, self._poison = seed, poison
        self.user_prefix = "user"
        """What the ids of the users begin with."""
        self.times = LONG_AGO_AND_LATELY
        """From when until when events are, epoch ms."""
        self.begin("")

    def begin(self, name: str) -> None:
        """Draw from now on what follows from seed and name alone, under event ids that begin with the name."""
        self._random = random.Random(f"{self._seed}-{name}")
        self._prefix = f"{name}{self._seed}"
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer.close()

    def send(self, count: int, users: int = 200) -> None:
        """Send ``count`` fresh events, about a fifth of them again, shuffled, and wait for the acknowledgements."""
        with self.lock:
            records = [record for _ in range(count) for record in self._repeated(*self.event(users))]
            self._random.shuffle(records)
        self.send_these(records)

    def send_these(self, records: Iterable[tuple[Event, str]]) -> None:
        """Send events, each with its type, and wait for the acknowledgements."""
        for event, kind in records:
            with self.lock:
                self._producer.produce(TOPICS[kind], json.dumps(event).encode(), str(event["user_id"]).encode())
                self.ledger.book(event, kind)
            self._producer.poll(0)
        _acknowledged(self._producer)

    def probe(self, name: str) -> None:
        """Send one event of a user of this name, without waiting for its acknowledgement."""
        event: Event = {"event_id": name, "user_id": name, "product_id": "probe", "timestamp": 1_600_000_000_000}
        with self.lock:
            event["tags"] = ["probe"]
            self._producer.produce(TOPICS["view"], json.dumps(event).encode(), name.encode())
            self.ledger.book(event, "view")
        self._producer.poll(0)

    def send_to_partitions(self, kind: str, partitions: Sequence[int], count: int) -> None:
        """Send fresh events of one type, and repeats of them, to these partitions only."""
        with Producer(self._settings) as producer, self.lock:  # one that knows the partitions there are now
            for _ in range(count):
                event, _ = self.event(users=200)
                event["event_type"] = kind
                for again, _ in self._repeated(event, kind):
                    partition = self._random.choice(partitions)
                    producer.produce(TOPICS[kind], json.dumps(again).encode(), partition=partition)
                    self.ledger.book(again, kind)
            _acknowledged(producer)

    def poison(self, records: Sequence[Poison] | None = None) -> None:
        """Send records that no parser should take, each with the reason why."""
        for value, reason in self._poison if records is None else records:
            with self.lock:
                self._producer.produce(TOPICS["view"], value, None)
                self.ledger.book_poison(TOPICS["view"], value, reason)
            self._producer.poll(0)
        _acknowledged(self._producer)

    @contextmanager
    def flowing(self, chunk: int = 200, pause_seconds: float = 0.2, users: int = 200) -> Iterator[None]:
        """Send ``chunk`` events at a time and a little poison, then pause, as long as the context lasts."""
        over = threading.Event()

        def flow() -> None:
            while not over.wait(pause_seconds):
                self.send(chunk, users)
                self.poison(self._random.sample(self._poison, 2))

        with ThreadPoolExecutor(max_workers=1) as pool:
            flowing = pool.submit(flow)
            try:
                yield
            finally:
                over.set()
            flowing.result()

    def event(self, users: int) -> tuple[Event, str]:
        """Make a fresh event and its type."""
        with self.lock:
            self._made += 1
            kind = self._random.choices(list(TOPICS), _SHARES)[0]
            event: Event = {
                "event_id": f"{self._prefix}-{self._made}",
                "user_id": f"{self.user_prefix}-{int(users * self._random.random() ** 2)}",
                "product_id": f"product-{self._random.randrange(60)}",
                "event_type": kind,
                "timestamp": self._random.randrange(*self.times),
                "tags": [f"tag-{self._random.randrange(30)}" for _ in range(self._random.randrange(1, 4))],
            }
            if self._made % 20 == 0:
                del event["event_id"]
            if self._made % 3 == 0:
                event["metadata"] = {"page": "home", "duration_ms": self._random.randrange(90_000)}
            return event, kind

    def _repeated(self, event: Event, kind: str) -> list[tuple[Event, str]]:
        return [(event, kind)] * self._random.choice((1, 1, 1, 1, 2))


def _acknowledged(producer: Producer) -> None:
    left = producer.flush(_MOST_SECONDS)
    if left:
        raise DoesNotHold(f"Kafka did not acknowledge {left} records within {_MOST_SECONDS} s")
