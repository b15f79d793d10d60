"""When a message is acknowledged, and when it goes back: with a channel that only takes notes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pika
import pytest

from reccore.event_types import EventTypes
from recsvc.errors import EventRefused, IngestUnavailable
from recsvc.ingest import Message, Placed
from recsvc.memory import MemoryEventPublisher
from reweigh.rabbitmq.confirms import PERSISTENT, Outgoing
from reweigh.rabbitmq.errors import RabbitUnavailable
from reweigh.rabbitmq.handling import PAUSES, Delivery, Handler

TYPES = EventTypes.from_settings({})


@dataclass
class NotedChannel:
    """Notes what it is told."""

    told: list[tuple[str, int, bool]] = field(default_factory=list)

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        """As pika's."""
        self.told.append(("ack", tag, multiple))

    def basic_nack(self, tag: int, requeue: bool) -> None:
        """As pika's."""
        self.told.append(("nack", tag, requeue))


def noting(waited: list[float]) -> Callable[[float], bool]:
    """What a handler pauses with: it takes no time, and nobody asks it to end meanwhile."""

    def pause(seconds: float) -> bool:
        waited.append(seconds)
        return True

    return pause


@dataclass
class NotedDeadLetters:
    """Keeps what is published while it is up."""

    up: bool = True
    kept: list[Outgoing] = field(default_factory=list)

    def publish(self, messages: Sequence[Outgoing], _seconds: float) -> list[RabbitUnavailable | None]:
        """Confirm all or none."""
        if not self.up:
            return [RabbitUnavailable("away")] * len(messages)
        self.kept += messages
        return [None] * len(messages)


class Moody(MemoryEventPublisher):
    """Refuses what holds certain words: `heavy` for good, `late` the first time."""

    def publish(self, messages: Sequence[Message]) -> list[Placed | IngestUnavailable]:
        """As the others."""
        results = super().publish(messages)
        for number, message in enumerate(messages):
            if b"heavy" in message.value:
                results[number] = EventRefused("too heavy")
            elif b"late" in message.value and self.messages.count(message) == 1:
                results[number] = IngestUnavailable("late")
        return results


def deliveries(*users: str, first: int = 1) -> list[Delivery]:
    """A message for each user, "" being a bad one."""
    return [
        Delivery(
            tag,
            json.dumps({"user_id": user, "item_id": "p", "action": "click"}).encode(),
            pika.BasicProperties(message_id=f"m-{tag}", headers={"trace": "t"}, delivery_mode=1),
        )
        for tag, user in enumerate(users, first)
    ]


def test_all_settled_is_one_acknowledgement() -> None:
    """Also when a dead letter is among them, which keeps its headers, its id and its bytes."""
    channel, dead, kafka = NotedChannel(), NotedDeadLetters(), MemoryEventPublisher()
    given = deliveries("a", "", "b", first=5)
    Handler(kafka, dead, TYPES).handle(channel, given, lambda _: True)
    assert channel.told == [("ack", 7, True)]
    assert [message.key for message in kafka.messages] == [b"a", b"b"]
    [letter] = dead.kept
    assert letter.body == given[1].body
    assert letter.properties.delivery_mode == PERSISTENT
    assert letter.properties.message_id == "m-6"
    assert letter.properties.headers["trace"] == "t"
    assert letter.properties.headers["x-reason"] == "invalid_user_id"


def test_what_is_late_is_tried_again_and_the_others_are_acknowledged_alone() -> None:
    """Never several at once while one of them is open, and under the same id."""
    channel, kafka, waited = NotedChannel(), Moody(), list[float]()
    given = deliveries("a", "late", "b")
    given[1].properties.message_id = None
    Handler(kafka, NotedDeadLetters(), TYPES).handle(channel, given, noting(waited))
    assert channel.told == [("ack", 1, False), ("ack", 3, False), ("ack", 2, False)]
    assert waited == [PAUSES[0]]
    sent = [message.value for message in kafka.messages if message.key == b"late"]
    assert len(sent) == 2
    assert len(set(sent)) == 1


def test_while_kafka_is_away_everything_goes_back_after_growing_pauses() -> None:
    """Nothing is acknowledged, and nobody is in a hurry."""
    channel, kafka, waited = NotedChannel(), MemoryEventPublisher(), list[float]()
    kafka.up = False
    Handler(kafka, NotedDeadLetters(), TYPES).handle(channel, deliveries("a", "b"), noting(waited))
    assert channel.told == [("nack", 1, True), ("nack", 2, True)]
    assert tuple(waited) == PAUSES
    assert list(PAUSES) == sorted(PAUSES)


def test_what_came_back_too_often_is_kept_in_hand_until_kafka_is_back() -> None:
    """A quorum queue counts what goes back, and drops it in the end."""
    channel, kafka, waited = NotedChannel(), MemoryEventPublisher(), list[float]()
    kafka.up = False

    def pause(seconds: float) -> bool:
        waited.append(seconds)
        kafka.up = len(waited) == len(PAUSES) + 3
        return True

    given = deliveries("a", "b", "c", "d")
    for each, count in zip(given, (0, 10, 11, "x"), strict=True):
        each.properties.headers = {"x-delivery-count": count}
    Handler(kafka, NotedDeadLetters(), TYPES).handle(channel, given, pause)
    assert channel.told == [("nack", 1, True), ("nack", 2, True), ("nack", 4, True), ("ack", 3, False)]
    assert tuple(waited) == (*PAUSES, *[PAUSES[-1]] * 3)
    assert [message.key for message in kafka.messages] == [b"c"]


def test_the_end_does_not_wait_for_kafka() -> None:
    """What can't be settled at once goes back, however often it did before."""
    channel, kafka = NotedChannel(), MemoryEventPublisher()
    kafka.up = False
    [given] = deliveries("a")
    given.properties.headers = {"x-delivery-count": 19}
    Handler(kafka, NotedDeadLetters(), TYPES).handle(channel, [given], lambda _: False)
    assert channel.told == [("nack", 1, True)]


def test_what_kafka_refuses_for_good_is_a_dead_letter() -> None:
    """It would come back for ever."""
    channel, dead = NotedChannel(), NotedDeadLetters()
    Handler(Moody(), dead, TYPES).handle(channel, deliveries("heavy", "a"), lambda _: True)
    assert channel.told == [("ack", 2, True)]
    assert [each.properties.headers["x-reason"] for each in dead.kept] == ["refused_by_kafka"]


def test_a_dead_letter_that_is_not_confirmed_keeps_its_original() -> None:
    """It goes back into the queue."""
    channel = NotedChannel()
    Handler(MemoryEventPublisher(), NotedDeadLetters(up=False), TYPES).handle(
        channel, deliveries("a", ""), lambda _: False
    )
    assert channel.told == [("ack", 1, False), ("nack", 2, True)]


@pytest.mark.parametrize("headers", [{"bad": object()}, None])
def test_headers_that_can_not_be_written_are_left_out(headers: dict[str, object] | None) -> None:
    """A message is never lost for them."""
    dead = NotedDeadLetters()
    [given] = deliveries("")
    given.properties.headers = headers
    Handler(MemoryEventPublisher(), dead, TYPES).handle(NotedChannel(), [given], lambda _: True)
    assert set(dead.kept[0].properties.headers) == {"x-reason", "x-detail", "x-field"}
