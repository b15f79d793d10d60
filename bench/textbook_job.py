"""The profile job as a textbook would have it: PyFlink's DataStream API, keyed state, one record at a time.

A `KeyedProcessFunction` in process mode remembers the event ids of a user in a `MapState` and counts by tag in another;
a mapping function at the end writes each changed score to Redis. It stands on its own: `flink run -py` is given only
this file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import redis
from pyflink.common import Configuration, Row, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource
from pyflink.datastream.functions import KeyedProcessFunction, MapFunction
from pyflink.datastream.state import MapState, MapStateDescriptor

WEIGHTS = (1, 3, 5)
TYPES = ("view", "add_to_cart", "purchase")


class CountOnce(KeyedProcessFunction):  # type: ignore[misc]
    """Key: user. Counts each event id once, by tag and type, and gives (user, tag, score, counts) of what changed."""

    _seen: MapState
    _counts: MapState

    def open(self, runtime_context: RuntimeContext) -> None:
        """Take hold of the state."""
        self._seen = runtime_context.get_map_state(MapStateDescriptor("seen", Types.STRING(), Types.BOOLEAN()))
        self._counts = runtime_context.get_map_state(MapStateDescriptor("counts", Types.STRING(), Types.STRING()))

    def process_element(self, value: dict[str, Any], ctx: KeyedProcessFunction.Context) -> Iterator[Row]:  # noqa: ARG002
        """Take one event."""
        if self._seen.contains(value["event_id"]):
            return
        self._seen.put(value["event_id"], True)
        place = TYPES.index(value["event_type"])
        for tag in value["tags"]:
            counts = [int(text) for text in (self._counts.get(tag) or "0,0,0").split(",")]
            counts[place] += 1
            row = ",".join(map(str, counts))
            self._counts.put(tag, row)
            score = sum(count * weight for count, weight in zip(counts, WEIGHTS, strict=True))
            yield Row(value["user_id"], tag, str(score), row)


class WriteToRedis(MapFunction):  # type: ignore[misc]
    """(user, tag, score, counts) → Redis, a command for each of score and counts."""

    _client: Any

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, runtime_context: RuntimeContext) -> None:  # noqa: ARG002
        """Connect."""
        self._client = redis.Redis.from_url(self._url)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def map(self, value: Row) -> int:
        """Write one score and its counts."""
        user_id, tag, score, row = value
        self._client.hset(f"user:profile:{user_id}", tag, score)
        self._client.hset(f"{{user:profile:{user_id}}}:counts", tag, row)
        return 1


def main() -> None:
    """Submit the job; ``flink run`` calls this."""
    parser = argparse.ArgumentParser()
    for name in ("--bootstrap", "--redis-url", "--topics", "--parallelism", "--checkpoint-interval-ms"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    configuration = Configuration()
    configuration.set_string("python.execution-mode", "process")
    configuration.set_string("state.backend.type", "rocksdb")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(int(given.parallelism))
    environment.enable_checkpointing(int(given.checkpoint_interval_ms))
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(given.bootstrap)
        .set_topics(*given.topics.split(","))
        .set_group_id("textbook")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    row = Types.ROW([Types.STRING(), Types.STRING(), Types.STRING(), Types.STRING()])
    (
        environment.from_source(source, WatermarkStrategy.no_watermarks(), "events")
        .map(json.loads)
        .key_by(lambda event: event["user_id"], key_type=Types.STRING())
        .process(CountOnce(), output_type=row)
        .map(WriteToRedis(given.redis_url), output_type=Types.INT())
        .filter(lambda written: written == 0)  # nothing is left to print
        .print()
    )
    environment.execute("textbook-profile")


if __name__ == "__main__":
    main()
