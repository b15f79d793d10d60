"""The event topics as a log: from the first record to an end that is fixed, in batches of Arrow."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import confluent_kafka as kafka
import confluent_kafka.admin
import pyarrow as pa
import pyarrow.compute as pc

from reweigh.errors import CommandError

_ADMIN: Final[Any] = kafka.admin  # its stub leaves out most of what it exports
_ANSWER_SECONDS: Final = 30.0
_SILENCE_SECONDS: Final = 60.0
_GATHERING_SECONDS: Final = 0.1
_RECORDS_A_BATCH: Final = 50_000
_RECORDS_A_CALL: Final = 5_000

Offsets = Mapping["Place", int]
"""How far each partition is meant: the offset after its last record."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One partition of one topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one batch: ``place`` (index into ``places``), ``spot`` (offset), ``arrived`` (ms), ``value``."""

    places: Sequence[Place]
    table: pa.Table


class EventLog:
    """Some topics of one broker. Raises :class:`CommandError` for whatever Kafka does not give.

    ``access`` are the client's options for protocol, user and certificates.
    """

    def __init__(self, bootstrap: str, topics: Iterable[str], access: Mapping[str, Any] | None = None) -> None:
        self._bootstrap = bootstrap
        self._access = dict(access or {})
        self._topics = list(topics)
        self._admin = _ADMIN.AdminClient(self._client())
        self.cluster = ""
        """Kafka's own id, once :meth:`ends` was asked."""
        self.places: list[Place] = []
        """Every partition seen so far; a place keeps its index."""

    def ends(self) -> dict[Place, int]:
        """Give the end of every partition, and learn of new partitions."""
        try:
            found = self._admin.list_topics(timeout=_ANSWER_SECONDS)
        except kafka.KafkaException as exc:
            raise CommandError(f"Kafka at {self._bootstrap} does not answer: {exc}") from exc
        self.cluster, present = str(found.cluster_id), found.topics
        absent = [topic for topic in self._topics if topic not in present]
        if absent:
            raise CommandError(f"Kafka at {self._bootstrap} has no topic {', '.join(absent)}")
        places = [Place(topic, number) for topic in self._topics for number in sorted(present[topic].partitions)]
        self.places += [place for place in places if place not in set(self.places)]
        return self._offsets(_ADMIN.OffsetSpec.latest())

    def begins(self) -> dict[Place, int]:
        """Give the first offset of every partition that is known."""
        return self._offsets(_ADMIN.OffsetSpec.earliest())

    def refuse_unless_complete(self) -> None:
        """See that no record is gone: no topic is compacted, and every partition begins with offset 0."""
        self.ends()
        for topic in self._topics:
            resource = _ADMIN.ConfigResource(_ADMIN.ResourceType.TOPIC, topic)
            policy = str(_answer(self._admin.describe_configs([resource])[resource])["cleanup.policy"].value)
            if "compact" in policy:
                raise CommandError(f"the log is not complete: {topic} is compacted (cleanup.policy={policy})")
        for place, begin in self.begins().items():
            if begin > 0:
                raise CommandError(
                    f"the log is not complete: the first {begin:,} records of {place.topic}, partition "
                    f"{place.partition}, have been deleted, so nothing can be counted anew"
                )

    def committed(self, group: str) -> dict[Place, int]:
        """Give the offsets that a consumer group has committed; 0 where it has committed none."""
        request = kafka.ConsumerGroupTopicPartitions(group)
        answer: Any = _answer(self._admin.list_consumer_group_offsets([request])[group])
        offsets = {Place(each.topic, each.partition): max(each.offset, 0) for each in answer.topic_partitions}
        return {place: offsets.get(place, 0) for place in self.places}

    def read(self, begin: Offsets, end: Offsets) -> Iterator[Records]:
        """Give all records from ``begin`` (0 where it names none) up to ``end``, the next batch read ahead."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            batches = self._batches(begin, end)
            coming = pool.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = pool.submit(next, batches, None)
                yield batch

    def has_records(self, begin: Offsets, end: Offsets) -> bool:
        """Whether there is a record between: offsets are also taken by the markers of transactions."""
        with closing(self._batches(begin, end)) as batches:
            return any(len(batch.table) for batch in batches)

    def _batches(self, begin: Offsets, end: Offsets) -> Generator[Records]:
        left = {place: upto for place, upto in end.items() if upto > begin.get(place, 0)}
        number = {place: each for each, place in enumerate(self.places)}
        index = {(place.topic, place.partition): each for place, each in number.items()}
        consumer = kafka.Consumer(
            {
                **self._client(),
                "group.id": "reweigh-verify",
                "enable.auto.commit": False,
                "enable.partition.eof": True,  # tells of the end also where a transaction's marker stands there
                "isolation.level": "read_uncommitted",  # as the job reads
                "auto.offset.reset": "error",
                "queued.max.messages.kbytes": 65_536,
                "fetch.queue.backoff.ms": 20,  # a second by default, in which all that was fetched is used up
            }
        )
        try:
            consumer.assign([kafka.TopicPartition(p.topic, p.partition, begin.get(p, 0)) for p in left])
            batch, heard_at = _Columns(), time.monotonic()
            while left:
                messages: list[Any] = consumer.consume(_RECORDS_A_CALL, _GATHERING_SECONDS)
                if messages:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > _SILENCE_SECONDS:
                    raise CommandError(f"Kafka at {self._bootstrap} sent no record within {_SILENCE_SECONDS:.0f} s")
                for message in [each for each in messages if each.error() is not None]:
                    if message.error().code() != kafka.KafkaError._PARTITION_EOF:
                        raise CommandError(f"{message.topic()}, partition {message.partition()}: {message.error()}")
                    messages.remove(message)
                    self._finish(consumer, left, Place(message.topic(), message.partition()), message.offset())
                newest = batch.add(messages, index)
                for place in [each for each in left if newest.get(number[each], -1) + 1 >= end[each]]:
                    self._finish(consumer, left, place, newest[number[place]])
                if len(batch) >= _RECORDS_A_BATCH:
                    yield batch.records(self.places, end)
                    batch = _Columns()
            if len(batch):
                yield batch.records(self.places, end)
        except kafka.KafkaException as exc:
            raise CommandError(f"the events can't be read: {exc}") from exc
        finally:
            consumer.close()

    def _finish(self, consumer: kafka.Consumer, left: dict[Place, int], place: Place, offset: int) -> None:
        """Leave a partition that has given all that was asked for; an early end of it is only a pause."""
        if place in left and offset + 1 >= left[place]:
            del left[place]
            consumer.incremental_unassign([kafka.TopicPartition(place.topic, place.partition)])

    def _offsets(self, which: Any) -> dict[Place, int]:
        wanted = {kafka.TopicPartition(place.topic, place.partition): which for place in self.places}
        found = self._admin.list_offsets(wanted, request_timeout=_ANSWER_SECONDS)
        return {Place(each.topic, each.partition): int(_answer(future).offset) for each, future in found.items()}

    def _client(self) -> dict[str, Any]:
        ours = {"bootstrap.servers": self._bootstrap, "log_level": 0, "socket.connection.setup.timeout.ms": 5_000}
        return ours | self._access


class _Columns:
    """Records on their way into a table, column by column."""

    def __init__(self) -> None:
        self._place: list[int] = []
        self._spot: list[int] = []
        self._arrived: list[int] = []
        self._value: list[bytes | None] = []

    def __len__(self) -> int:
        return len(self._spot)

    def add(self, messages: Sequence[Any], index: Mapping[tuple[str, int], int]) -> dict[int, int]:
        """Take messages, of places by topic and partition, and give the last offset of each place among them.

        Column by column, since a pass of a comprehension costs a tenth of what a loop's costs for each message.
        """
        places = [index[message.topic(), message.partition()] for message in messages]
        spots = [message.offset() for message in messages]
        self._place += places
        self._spot += spots
        self._arrived += [message.timestamp()[1] for message in messages]
        self._value += [message.value() for message in messages]
        return dict(zip(places, spots, strict=True))

    def records(self, places: Sequence[Place], end: Offsets) -> Records:
        """Give what has been gathered, without what came after its partition's end."""
        table = pa.table(
            {
                "place": pa.array(self._place, pa.int32()),
                "spot": pa.array(self._spot, pa.int64()),
                "arrived": pa.array(self._arrived, pa.int64()),
                "value": pa.array(self._value, pa.binary()),
            }
        )
        ends = pa.array([end.get(place, 0) for place in places], pa.int64())
        return Records(places, table.filter(pc.less(table["spot"], pc.take(ends, table["place"]))))


def _answer(future: Any) -> Any:
    try:
        return future.result(_ANSWER_SECONDS)
    except (kafka.KafkaException, TimeoutError) as exc:
        raise CommandError(f"Kafka does not answer: {exc}") from exc
