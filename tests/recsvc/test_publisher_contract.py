"""What every publisher of events does, the real one and its stand-in alike."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from deploy.local.stack import Stack
from recsvc.confluent_publisher import ConfluentEventPublisher
from recsvc.errors import IngestUnavailable
from recsvc.ingest import EventPublisher, Message, Placed
from recsvc.kafka_publisher import KafkaEventPublisher
from recsvc.memory import MemoryEventPublisher
from tests.waiting import wait_until

TOPIC = "view-events"
ReadBack = Callable[[Placed], tuple[bytes, bytes]]


REAL = (KafkaEventPublisher, ConfluentEventPublisher)


@pytest.fixture(params=[MemoryEventPublisher, *REAL], ids=lambda used: used.__name__)
def publisher(request: pytest.FixtureRequest, stack: Stack) -> Iterator[tuple[EventPublisher, ReadBack]]:
    """A publisher, and a function that reads key and value back from where a message was put."""
    if request.param is MemoryEventPublisher:
        memory = MemoryEventPublisher()
        yield memory, lambda placed: (memory.messages[placed.offset].key, memory.messages[placed.offset].value)
        return
    real: EventPublisher = request.param(stack.env["KAFKA_BOOTSTRAP"], most_in_flight=100, timeout_ms=10_000)
    consumer = Consumer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"], "group.id": "contract"})

    def read_back(placed: Placed) -> tuple[bytes, bytes]:
        consumer.assign([TopicPartition(placed.topic, placed.partition, placed.offset)])
        [message] = consumer.consume(1, timeout=20)
        assert message.offset() == placed.offset
        return message.key() or b"", message.value() or b""

    yield real, read_back
    consumer.close()
    real.stop()


def test_messages_stand_where_the_publisher_says(publisher: tuple[EventPublisher, ReadBack]) -> None:
    """Each message has its place, in the order given, and is there to the byte."""
    used, read_back = publisher
    messages = [Message(TOPIC, f"user-{n}".encode(), f'{{"n": {n}, "text": "ü"}}'.encode()) for n in range(20)]
    placed = used.publish(messages)
    places = [each for each in placed if isinstance(each, Placed)]
    assert len(places) == 20
    assert {each.topic for each in places} == {TOPIC}
    assert len({(each.partition, each.offset) for each in places}) == 20
    for place, message in zip(places, messages, strict=True):
        assert read_back(place) == (message.key, message.value)


def test_one_user_keeps_order(publisher: tuple[EventPublisher, ReadBack]) -> None:
    """Messages of one key go to one partition, in their order."""
    used, _ = publisher
    placed = used.publish([Message(TOPIC, b"one", str(n).encode()) for n in range(10)])
    places = [each for each in placed if isinstance(each, Placed)]
    assert len({each.partition for each in places}) == 1
    offsets = [each.offset for each in places]
    assert offsets == sorted(offsets)


def test_nothing_to_publish(publisher: tuple[EventPublisher, ReadBack]) -> None:
    """No messages, no results."""
    assert publisher[0].publish([]) == []


def test_all_put_a_user_into_one_partition(stack: Stack) -> None:
    """Whichever is used: what reads one user in order finds it in one place."""
    found = set()
    for kind in REAL:
        used = kind(stack.env["KAFKA_BOOTSTRAP"], most_in_flight=100, timeout_ms=10_000)
        placed = used.publish([Message(TOPIC, f"user-{n}".encode(), b"{}") for n in range(40)])
        found.add(tuple(each.partition for each in placed if isinstance(each, Placed)))
        used.stop()
    [partitions] = found
    assert len(partitions) == 40
    assert len(set(partitions)) > 1


@pytest.mark.parametrize("kind", REAL)
def test_a_broker_that_is_away_is_told_for_each_message(kind: type[EventPublisher], stack: Stack) -> None:
    """Nothing is raised: each message has its own answer, and afterwards the publisher works by itself again."""
    memory = MemoryEventPublisher()
    real = kind(stack.env["KAFKA_BOOTSTRAP"], most_in_flight=10, timeout_ms=1_500)  # type: ignore[call-arg]
    message = Message(TOPIC, b"u", b"{}")
    wait_until(lambda: isinstance(real.publish([message])[0], Placed), 60)
    memory.up = False
    stack.kill("kafka", signal.SIGSTOP)
    try:
        for away in (memory, real):
            for _ in range(5):  # more than may be in flight
                answers = away.publish([message] * 3)
                assert [type(each) for each in answers] == [IngestUnavailable] * 3
    finally:
        stack.kill("kafka", signal.SIGCONT)
    memory.up = True
    for back in (memory, real):
        wait_until(lambda used=back: isinstance(used.publish([message])[0], Placed), 60)  # type: ignore[misc]
    real.stop()
