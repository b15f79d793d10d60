"""The alternative that anyone would write first: one process, a dictionary, Redis pipelines. Nothing survives a crash.

``python -m bench.plain_loop BOOTSTRAP REDIS_URL`` reads the same topics up to their end, counts each event id once,
keeps scores and counts per user and tag and counts per user and product, and writes the changed ones. It prints one
line of JSON: the seconds, and the processor seconds of this process, from the first record to the last answer of Redis.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson
import redis
from confluent_kafka import Consumer, TopicPartition

from bench.synthetic import TOPICS, TYPES

WEIGHTS = (1, 3, 5)
BATCH = 10_000
Changed: TypeAlias = dict[str, tuple[set[str], set[str]]]
"""Tags and products by user."""
_CODES = {name: code for code, name in enumerate(TYPES)}


@dataclass(slots=True)
class Counted:
    """Everything that the loop remembers: event ids seen, and counts by user and tag, and by user and product."""

    seen: set[str] = field(default_factory=set)
    counts: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    items: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    def take(self, values: Iterable[bytes]) -> Changed:
        """Count events, each id once, and give the tags and the products that changed, by user."""
        changed: Changed = {}
        seen, counts, items = self.seen, self.counts, self.items
        for value in values:
            event = orjson.loads(value)
            if event["event_id"] in seen:
                continue
            seen.add(event["event_id"])
            user_id, code = event["user_id"], _CODES[event["event_type"]]
            of_user = counts.setdefault(user_id, {})
            tags, products = changed.setdefault(user_id, (set(), set()))
            product_id = event["product_id"]
            items.setdefault(user_id, {}).setdefault(product_id, [0, 0, 0])[code] += 1
            products.add(product_id)
            for tag in event["tags"]:
                of_user.setdefault(tag, [0, 0, 0])[code] += 1
                tags.add(tag)
        return changed

    def write(self, client: Any, changed: Changed) -> None:
        """Write scores and counts of what changed in one pipeline, and wait for the answers."""
        pipeline = client.pipeline(transaction=False)
        for user_id, (tags, products) in changed.items():
            of_user = self.counts[user_id]
            scores = {tag: sum(map(int.__mul__, of_user[tag], WEIGHTS)) for tag in tags}
            pipeline.hset(f"user:profile:{user_id}", mapping=scores)
            rows = {tag: ",".join(map(str, of_user[tag])) for tag in tags}
            pipeline.hset(f"{{user:profile:{user_id}}}:counts", mapping=rows)
            by_product = self.items[user_id]
            items = {product: ",".join(map(str, by_product[product])) for product in products}
            pipeline.hset(f"{{user:profile:{user_id}}}:items", mapping=items)
        pipeline.execute()


def main(bootstrap: str, redis_url: str) -> None:
    """Consume everything that is there and write it to Redis."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "plain-loop",
            "enable.auto.commit": False,
            "fetch.min.bytes": 65536,
        }
    )
    ends = _ends(consumer)
    consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in ends])
    to_read = sum(ends.values())
    client = redis.Redis.from_url(redis_url)
    counted = Counted()
    read, began, began_cpu = 0, 0.0, 0.0
    while read < to_read:
        messages = consumer.consume(BATCH, timeout=0.2)
        if not messages:
            continue
        if not read:
            began, began_cpu = time.perf_counter(), time.process_time()
        read += len(messages)
        counted.write(client, counted.take(message.value() or b"" for message in messages))
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    consumer.close()
    result = {
        "records": read,
        "events": len(counted.seen),
        "users": len(counted.counts),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }
    print(json.dumps(result))


def _ends(consumer: Any) -> dict[tuple[str, int], int]:
    """Give the end of each partition of the topics: where to stop."""
    ends: dict[tuple[str, int], int] = {}
    for topic, metadata in consumer.list_topics(timeout=10).topics.items():
        if topic in TOPICS:
            for partition in metadata.partitions:
                _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                ends[topic, partition] = high
    return ends


if __name__ == "__main__":
    main(*sys.argv[1:3])
