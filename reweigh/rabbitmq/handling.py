"""Settling messages: into Kafka or among the dead letters, and acknowledged only after that."""

from __future__ import annotations

import itertools
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pika
from pika.exceptions import AMQPError

from reccore.errors import RejectedEvent
from reccore.event_types import EventTypes
from recsvc.errors import EventRefused
from recsvc.ingest import EventPublisher, Message, Placed
from reweigh.rabbitmq import metrics
from reweigh.rabbitmq.confirms import PERSISTENT, Outgoing
from reweigh.rabbitmq.errors import RabbitUnavailable
from reweigh.rabbitmq.judging import REFUSED_BY_KAFKA, judged, rejection_headers

log = logging.getLogger(__name__)

PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts at what Kafka has not acknowledged; after the last one it goes back into the queue."""

MOST_DELIVERIES: Final = 10
"""Of one message, as a quorum queue counts them; from RabbitMQ 4.0 on it drops what it has delivered 20 times."""
DEAD_LETTER_SECONDS: Final = 10.0
FORWARDED, REJECTED, REQUEUED = "forwarded", "rejected", "requeued"

Wait = Callable[[float], bool]
"""Waits so many seconds while the connection is kept alive; False when there is no time, since the bridge is to end."""


class DeadLetters(Protocol):
    """The queue of what is no event."""

    def publish(self, messages: Sequence[Outgoing], seconds: float) -> list[RabbitUnavailable | None]:
        """Publish all; None for each that is confirmed."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as RabbitMQ has handed it over."""

    tag: int
    body: bytes
    properties: pika.BasicProperties


@dataclass(frozen=True, slots=True)
class _Open:
    """A delivery that is not settled, and what is to become of it."""

    delivery: Delivery
    wanted: Message | RejectedEvent

    @property
    def came_back_often(self) -> bool:
        """Whether a queue that counts deliveries might soon take it for poison, and drop it."""
        count = (self.delivery.properties.headers or {}).get("x-delivery-count")
        return isinstance(count, int) and count > MOST_DELIVERIES


class Handler:
    """Settles batches of deliveries."""

    def __init__(self, publisher: EventPublisher, dead_letters: DeadLetters, event_types: EventTypes) -> None:
        self._publisher, self._dead_letters, self._event_types = publisher, dead_letters, event_types

    def handle(self, channel: Any, deliveries: Sequence[Delivery], wait: Wait) -> None:
        """Settle the deliveries, which follow each other on ``channel``.

        Each is acknowledged once Kafka, or RabbitMQ for a dead letter, has acknowledged it; what is still open after
        all ``PAUSES`` goes back into the queue, unless it came back too often: that is tried on. Raises what pika
        raises: the connection is then lost, and RabbitMQ hands out again what was not acknowledged.
        """
        left = [self._judged(each) for each in deliveries]
        for attempt in itertools.count():
            settled, left = self._attempt(left)
            if len(settled) == len(deliveries):
                channel.basic_ack(deliveries[-1].tag, multiple=True)
            else:
                for each in settled:
                    channel.basic_ack(each.tag)
            if attempt >= len(PAUSES):
                self._give_back(channel, [item for item in left if not item.came_back_often])
                left = [item for item in left if item.came_back_often]
            if not left or not wait(PAUSES[min(attempt, len(PAUSES) - 1)]):
                break
        self._give_back(channel, left)

    def _give_back(self, channel: Any, items: Sequence[_Open]) -> None:
        for item in items:
            channel.basic_nack(item.delivery.tag, requeue=True)
            metrics.processed.labels(REQUEUED, self._action(item.wanted)).inc()
        if items:
            log.warning("%d messages went back into the queue", len(items))

    def _judged(self, delivery: Delivery) -> _Open:
        properties = delivery.properties
        # A message without any id gets one here: that holds while it is in hand, not when RabbitMQ hands it out again.
        identity = properties.message_id or f"bridge-{uuid.uuid4()}"
        try:
            return _Open(
                delivery,
                judged(
                    delivery.body,
                    self._event_types,
                    identity=identity,
                    timestamp=properties.timestamp,
                    now_ms=time.time_ns() // 1_000_000,
                ),
            )
        except RejectedEvent as exc:
            return _Open(delivery, exc)

    def _attempt(self, items: Sequence[_Open]) -> tuple[list[Delivery], list[_Open]]:
        """Try once to settle all; give what is settled, and what is left to be tried again."""
        settled: list[Delivery] = []
        events = [(each, each.wanted) for each in items if isinstance(each.wanted, Message)]
        dead = [(each, each.wanted) for each in items if isinstance(each.wanted, RejectedEvent)]
        left: list[_Open] = []
        trouble: Exception | None = None
        for (each, message), result in zip(events, self._publisher.publish([m for _, m in events]), strict=True):
            if isinstance(result, Placed):
                settled.append(each.delivery)
                metrics.processed.labels(FORWARDED, self._action(message)).inc()
            elif isinstance(result, EventRefused):
                rejection = RejectedEvent(REFUSED_BY_KAFKA, str(result))
                dead.append((_Open(each.delivery, rejection), rejection))
            else:
                trouble = result
                left.append(each)
        if dead:
            letters = [_letter(each.delivery, rejection) for each, rejection in dead]
            confirmations = self._dead_letters.publish(letters, DEAD_LETTER_SECONDS)
            for (each, rejection), error in zip(dead, confirmations, strict=True):
                if error is None:
                    settled.append(each.delivery)
                    metrics.processed.labels(REJECTED, self._action(each.wanted)).inc()
                    log.debug("a dead letter: %s", rejection)
                else:
                    trouble = error
                    left.append(each)
        if trouble is not None:
            log.warning("%d of %d messages are not settled: %s", len(left), len(items), trouble)
        return settled, left

    def _action(self, wanted: Message | RejectedEvent) -> str:
        return self._event_types.by_topic[wanted.topic] if isinstance(wanted, Message) else metrics.UNKNOWN


def _letter(delivery: Delivery, rejection: RejectedEvent) -> Outgoing:
    """Give the message as it came, persistent, with the reason in its headers."""
    given, headers = delivery.properties, rejection_headers(rejection)
    kept = pika.BasicProperties(
        content_type=given.content_type,
        content_encoding=given.content_encoding,
        correlation_id=given.correlation_id,
        message_id=given.message_id,
        timestamp=given.timestamp,
        type=given.type,
        app_id=given.app_id,
        headers={**(given.headers or {}), **headers},
        delivery_mode=PERSISTENT,
    )
    try:
        kept.encode()
    except (AMQPError, TypeError, ValueError):  # a header that pika reads but can't write
        kept.headers = headers
    return Outgoing(delivery.body, kept)
