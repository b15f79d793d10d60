"""Synthetic events for the stream benchmarks: long-tailed users and products, two tags each, RetailRocket's mix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import orjson
from confluent_kafka import Producer

from bench.errors import BenchmarkError

TOPICS: Final = ("view-events", "add-to-cart-events", "purchase-events")
TYPES: Final = ("view", "add_to_cart", "purchase")
USERS, PRODUCTS, TAGS = 80_000, 20_000, 500
TAGS_AN_EVENT: Final = 2
SHARE_SENT_TWICE: Final = 0.01
_MIX: Final = (0.967, 0.025, 0.008)
_CHUNK: Final = 50_000
_START_MS: Final = 1_700_000_000_000

Record = tuple[int, str, bytes]
"""The event type's number, the user id, and the event as JSON."""


def events(count: int, seed: int) -> Iterator[Record]:
    """Give ``count`` records; one in a hundred repeats the event before it. Another seed gives other event ids."""
    random = np.random.default_rng(seed)
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        types = random.choice(3, size, p=_MIX)
        users = _long_tail(random, USERS, size)
        products = _long_tail(random, PRODUCTS, size)
        repeats = random.random(size) < SHARE_SENT_TWICE
        previous: Record | None = None
        for row, (kind, user, product, repeat) in enumerate(
            zip(types.tolist(), users.tolist(), products.tolist(), repeats.tolist(), strict=True)
        ):
            if repeat and previous is not None:
                yield previous
                continue
            number = start + row
            event = {
                "event_id": f"{seed:04x}-{number:012d}-{user:08x}",
                "user_id": f"user-{user}",
                "product_id": f"product-{product}",
                "event_type": TYPES[kind],
                "timestamp": _START_MS + number,
                "tags": [f"tag-{product % TAGS}", f"tag-{TAGS + product % 97}"],
            }
            previous = kind, f"user-{user}", orjson.dumps(event)
            yield previous


def produce(bootstrap: str, count: int, seed: int) -> None:
    """Send ``count`` synthetic records to the three topics and wait until all are acknowledged."""
    send(bootstrap, events(count, seed))


def send(bootstrap: str, records: Iterable[Record]) -> None:
    """Send records as fast as they are taken, and wait until all are acknowledged.

    Raises:
        BenchmarkError: Some were not, within two minutes.
    """
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 5, "acks": "all", "queue.buffering.max.messages": 200_000}
    )
    for number, (kind, user_id, value) in enumerate(records):
        while True:
            try:
                producer.produce(TOPICS[kind], value, user_id.encode())
                break
            except BufferError:
                producer.poll(0.1)
        if number % 10_000 == 0:
            producer.poll(0)
    left = producer.flush(120)
    if left:
        raise BenchmarkError(f"{left} records were not acknowledged")


def distinct(records: Iterable[Record]) -> int:
    """Count the events among records that hold some twice."""
    return len({orjson.loads(value)["event_id"] for _, _, value in records})


def _long_tail(random: np.random.Generator, size: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Draw ``count`` numbers below ``size``, the low ones more often, so that a tenth has about half of the draws."""
    return (size * random.random(count) ** 3).astype(np.int64)
