"""Events into RabbitMQ, from a shop's own program.

from reweigh.rabbitmq.sender import EventSender

with EventSender("rabbitmq", username="shop", password=password) as sender:
    sender.send_event("user-1", "product-7", "click")
"""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self

import pika

from reccore.event_types import EventTypes
from reweigh.rabbitmq import metrics
from reweigh.rabbitmq.confirms import MOST_AT_ONCE, PERSISTENT, ConfirmedPublisher, Outgoing
from reweigh.rabbitmq.errors import NotConfirmed
from reweigh.rabbitmq.settings import QUEUE, RabbitSettings

_ATTEMPT_SECONDS: Final = 10.0
_FIRST_DELAY: Final = 0.2
_LONGEST_DELAY: Final = 5.0
_LONGEST_PROPERTY: Final = 255  # bytes


class EventSender:
    """Sends events, each persistent and confirmed by RabbitMQ before a method returns.

    It connects at the first event, and anew whenever it must; what was not confirmed is sent again under the same id,
    so it counts once. May be used by several threads; after a fork, make another.

    Args:
        host: The server's name.
        port: Its port.
        queue: The queue that the bridge consumes; created, durable, where there is none.
        username: Who we are there.
        password: Never logged.
        patience_seconds: For how long an event is tried while RabbitMQ is away.
        settings: All of that, and virtual host and TLS, in one; the arguments before are then of no effect.
        event_types: Further event types, for the labels of the metrics.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 5672,
        queue: str = QUEUE,
        username: str = "guest",
        password: str = "guest",  # noqa: S107 - what every RabbitMQ begins with, for clients of the same machine only
        *,
        patience_seconds: float = 60.0,
        settings: RabbitSettings | None = None,
        event_types: EventTypes | None = None,
    ) -> None:
        used = settings or RabbitSettings(host=host, port=port, queue=queue, username=username, password=password)
        self._publisher = ConfirmedPublisher(used, used.queue)
        self._patience_seconds = patience_seconds
        self._event_types = event_types or EventTypes.from_settings({})
        self._lock = threading.Lock()

    def send_event(
        self,
        user_id: str | int,
        item_id: str | int,
        action: str = "click",
        process_time: int | float | str | None = None,
        **further: object,
    ) -> str:
        """Send one event and give its id.

        Args:
            user_id: Who it was.
            item_id: The product.
            action: The event type: click or view, cart or add_to_cart, purchase, or a configured one.
            process_time: When it was, by default now: epoch milliseconds or seconds, or ISO 8601.
            further: Other members of an event, `tags` or `session_id`, and `event_id` where it has one already.

        Raises:
            NotConfirmed: RabbitMQ did not confirm it within ``patience_seconds``.
            RabbitRefused: User, password or rights are wrong.
        """
        event = {"user_id": user_id, "item_id": item_id, "action": action, "process_time": process_time, **further}
        event["event_id"] = event.get("event_id") or str(uuid.uuid4())
        self.send_batch([event])
        return str(event["event_id"])

    def send_batch(self, events: Iterable[Mapping[str, object]]) -> int:
        """Send events, members by the names of the contract, and give their number.

        They go out a thousand at a time, so any number of them may come out of a generator. Raises as ``send_event``;
        those before the batch that failed are confirmed.
        """
        remaining, count = iter(events), 0
        while batch := list(itertools.islice(remaining, MOST_AT_ONCE)):
            now_ms = time.time_ns() // 1_000_000
            actions = Counter(self._action(event) for event in batch)
            messages = [_message(event, now_ms) for event in batch]
            with self._lock:
                self._send(messages)
            for action, number in actions.items():
                metrics.sent.labels(action).inc(number)
            metrics.batch_size.observe(len(batch))
            count += len(batch)
        return count

    def close(self) -> None:
        """Let go of the connection; every event that was taken is with RabbitMQ already."""
        with self._lock:
            self._publisher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, messages: list[Outgoing]) -> None:
        until, delay, count = time.monotonic() + self._patience_seconds, _FIRST_DELAY, len(messages)
        while True:
            results = self._publisher.publish(messages, _ATTEMPT_SECONDS)
            messages = [message for message, error in zip(messages, results, strict=True) if error is not None]
            if not messages:
                return
            reason = next(error for error in results if error is not None)
            if time.monotonic() + delay > until:
                raise NotConfirmed(f"{len(messages):,} of {count:,} events are not confirmed: {reason}") from reason
            time.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    def _action(self, event: Mapping[str, object]) -> str:
        given = event.get("event_type") or event.get("action")
        return (self._event_types.canonical(given) if isinstance(given, str) else None) or metrics.UNKNOWN


def _message(event: Mapping[str, object], now_ms: int) -> Outgoing:
    """Make a message that stays the same event however often it is sent."""
    members = dict(event)
    members["event_id"] = event_id = members.get("event_id") or str(uuid.uuid4())
    if members.get("timestamp") is None and members.get("process_time") is None:
        members["process_time"] = now_ms
    user_id, identity = members.get("user_id"), _header(event_id)
    properties = pika.BasicProperties(
        content_type="application/json",
        delivery_mode=PERSISTENT,
        message_id=identity if len(identity.encode()) <= _LONGEST_PROPERTY else None,
        timestamp=now_ms // 1000,
        headers={} if user_id is None else {"user_id": _header(user_id)},
    )
    return Outgoing(json.dumps(members, allow_nan=False).encode(), properties)


def _header(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode("utf-8")
