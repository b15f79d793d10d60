"""The alternative that anyone would write first: one process, a dictionary, Redis pipelines. Nothing survives a crash.

Reads the same topics up to their end, counts each event id once, keeps scores and counts per user and tag, and writes
the changed ones. Prints the seconds from the first record to the last answer of Redis, as JSON.
"""

from __future__ import annotations

import json
import sys
import time

import orjson
import redis
from confluent_kafka import Consumer, TopicPartition

from bench.synthetic import TOPICS, TYPES

WEIGHTS = (1, 3, 5)
BATCH = 10_000


def main(bootstrap: str, redis_url: str) -> None:
    """Consume everything that is there and write it to Redis."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "plain-loop", "enable.auto.commit": False, "fetch.min.bytes": 65536}
    )
    ends: dict[tuple[str, int], int] = {}
    for topic, metadata in consumer.list_topics(timeout=10).topics.items():
        if topic in TOPICS:
            for partition in metadata.partitions:
                _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                ends[topic, partition] = high
    consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in ends])
    to_read = sum(ends.values())
    client = redis.Redis.from_url(redis_url)
    codes = {name: code for code, name in enumerate(TYPES)}
    seen: set[str] = set()
    counts: dict[str, dict[str, list[int]]] = {}
    read, began = 0, 0.0
    while read < to_read:
        messages = consumer.consume(BATCH, timeout=0.2)
        began = began or time.perf_counter() if messages else 0.0
        changed: dict[str, set[str]] = {}
        for message in messages:
            read += 1
            event = orjson.loads(message.value())
            if event["event_id"] in seen:
                continue
            seen.add(event["event_id"])
            user_id, code = event["user_id"], codes[event["event_type"]]
            of_user = counts.setdefault(user_id, {})
            tags = changed.setdefault(user_id, set())
            for tag in event["tags"]:
                of_user.setdefault(tag, [0, 0, 0])[code] += 1
                tags.add(tag)
        pipeline = client.pipeline(transaction=False)
        for user_id, tags in changed.items():
            of_user = counts[user_id]
            scores = {tag: sum(map(int.__mul__, of_user[tag], WEIGHTS)) for tag in tags}
            pipeline.hset(f"user:profile:{user_id}", mapping=scores)
            rows = {tag: ",".join(map(str, of_user[tag])) for tag in tags}
            pipeline.hset(f"{{user:profile:{user_id}}}:counts", mapping=rows)
        pipeline.execute()
    seconds = time.perf_counter() - began
    consumer.close()
    print(json.dumps({"records": read, "seconds": seconds, "users": len(counts)}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
