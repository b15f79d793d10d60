"""What Kafka is asked about records: the stand-in and the real one answer alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from recsvc.confluent_publisher import ConfluentEventPublisher
from recsvc.errors import IngestUnavailable
from recsvc.ingest import Message, Placed
from recsvc.job_group import JobGroup
from recsvc.memory import MemoryEventPublisher, MemorySettledRecords
from recsvc.settled_records import KafkaSettledRecords, SettledRecords

Case = tuple[SettledRecords, Placed, Callable[[int], None]]
GROUP = "settled-records"


def in_memory() -> Iterator[Case]:
    """The stand-in, a record in it, and what commits an offset."""
    log = MemoryEventPublisher()
    (placed,) = log.publish([Message("view-events", b"u", b"value")])
    settled = MemorySettledRecords(log)
    assert isinstance(placed, Placed)
    yield settled, placed, lambda offset: setattr(settled, "settled_upto", offset)


def real(bootstrap: str) -> Iterator[Case]:
    """The same in Kafka."""
    publisher = ConfluentEventPublisher(bootstrap, most_in_flight=10, timeout_ms=5_000)
    (placed,) = publisher.publish([Message("view-events", b"u", b"value")])
    publisher.stop()
    settled = KafkaSettledRecords(JobGroup(bootstrap, GROUP))
    assert isinstance(placed, Placed)

    def commit(offset: int) -> None:
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP})
        consumer.commit(offsets=[TopicPartition(placed.topic, placed.partition, offset)], asynchronous=False)
        consumer.close()

    yield settled, placed, commit
    settled.stop()


@pytest.fixture(params=["memory", "kafka"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """One of them."""
    if request.param == "memory":
        yield from in_memory()
    else:
        yield from real(request.getfixturevalue("stack").env["KAFKA_BOOTSTRAP"])


def test_a_record_is_settled_when_a_higher_offset_is_committed(case: Case) -> None:
    """Committed is the offset that is read next."""
    settled, placed, commit = case
    for offset, wanted in ((placed.offset, False), (placed.offset + 1, True)):
        commit(offset)
        assert settled.is_settled(placed) is wanted


def test_a_record_is_read_where_there_is_one(case: Case) -> None:
    """Any number of times."""
    settled, placed, _ = case
    for _ in range(2):
        found = settled.record(placed)
        assert found is not None
        assert found.value == b"value"
        assert found.time_ms > 1_500_000_000_000
        assert settled.record(Placed(placed.topic, placed.partition, placed.offset + 9)) is None


def test_kafka_may_be_away() -> None:
    """That is said within a few seconds."""
    settled = KafkaSettledRecords(JobGroup("127.0.0.1:1", GROUP))
    try:
        with pytest.raises(IngestUnavailable):
            settled.is_settled(Placed("view-events", 0, 0))
        with pytest.raises(IngestUnavailable):
            settled.record(Placed("view-events", 0, 0))
    finally:
        settled.stop()
