"""How far topics go, and the newest dead letters, asked of a real Kafka."""

from __future__ import annotations

import base64
import json
import signal

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from deploy.local.stack import Stack
from recsvc.errors import IngestUnavailable
from recsvc.job_group import JobGroup
from recsvc.ops.log_offsets import KafkaLogOffsets, LogOffsets, TopicOffsets
from tests.waiting import wait_until

GROUP = "group-of-test-log-offsets"
LETTERS = "dead-letter-events"


@pytest.fixture
def offsets(stack: Stack) -> LogOffsets:
    """Asks the broker."""
    return KafkaLogOffsets(JobGroup(stack.addresses.kafka, GROUP))


def letter(number: int) -> bytes:
    """A message of the dead-letter topic."""
    place = {"topic": "view-events", "partition": 0, "offset": number, "timestamp": 1}
    raw = base64.b64encode(f"record {number}".encode()).decode()
    return json.dumps({"reason": "not_json", "detail": "", **place, "raw": raw}).encode()


def asked(offsets: LogOffsets, *topics: str) -> dict[str, TopicOffsets]:
    """Ask until there is an answer: a broker that has just started, or was away, may take a moment."""
    found: list[dict[str, TopicOffsets]] = []

    def answers() -> bool:
        try:
            found.append(offsets.offsets(topics))
        except IngestUnavailable:
            return False
        return True

    wait_until(answers, 60)
    return found[-1]


def test_ends_and_what_the_job_has_committed(stack: Stack, offsets: LogOffsets) -> None:
    """Sums over the partitions; a topic that there is not is left out, a group that there is not has nothing."""
    topic = "view-events"
    before = asked(offsets, topic)[topic]
    assert before.committed == 0
    producer = Producer({"bootstrap.servers": stack.addresses.kafka})
    for number in range(40):
        producer.produce(topic, b"x", str(number))
    assert producer.flush(30) == 0
    group = {"bootstrap.servers": stack.addresses.kafka, "group.id": GROUP}
    consumer = Consumer(group)
    ends = {each: consumer.get_watermark_offsets(TopicPartition(topic, each))[1] for each in range(2)}
    consumer.commit(offsets=[TopicPartition(topic, each, end) for each, end in ends.items()], asynchronous=False)
    consumer.close()
    found = asked(offsets, topic, "no-such-topic")
    assert found.keys() == {topic}
    assert (found[topic].end, found[topic].committed) == (before.end + 40, sum(ends.values()))


def test_the_newest_letters(stack: Stack, offsets: LogOffsets) -> None:
    """Of all partitions, the newest first, no more than are wanted; none is held back for who asks again."""
    producer = Producer({"bootstrap.servers": stack.addresses.kafka})
    for number in range(30):
        producer.produce(LETTERS, letter(number), str(number), timestamp=2_000_000_000_000 + number)
    assert producer.flush(30) == 0
    asked(offsets, LETTERS)
    for _ in range(2):
        found = offsets.tail(LETTERS, 5)
        assert [each["text"] for each in found] == [f"record {number}" for number in range(29, 24, -1)]
        assert found[0]["record"] == "view-events:0:29"


def test_a_broker_that_is_away_is_told(stack: Stack, offsets: LogOffsets) -> None:
    """And asked again once it is back."""
    asked(offsets, "view-events")
    stack.kill("kafka", signal.SIGSTOP)
    try:
        with pytest.raises(IngestUnavailable, match="Kafka does not answer"):
            offsets.offsets(["view-events"])
        with pytest.raises(IngestUnavailable, match="Kafka does not answer"):
            offsets.tail(LETTERS, 5)
    finally:
        stack.kill("kafka", signal.SIGCONT)
    assert asked(offsets, "view-events")
