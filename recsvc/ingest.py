"""Events over HTTP: judged by the job's own rules, and taken when Kafka has acknowledged them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent
from reccore.event_types import EventTypes
from reccore.events import LARGEST_EVENT, TOO_LARGE, Event, event_from_value, parse_event
from recsvc.errors import FieldError, IngestUnavailable, Problem

_POSITION = re.compile(r"([a-zA-Z0-9._-]{1,249}):([0-9]{1,9}):([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Message:
    """What goes to Kafka: the topic of the event's type, the user id as the key, the event as it came."""

    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Placed:
    """Where Kafka has put a message."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """Give the position by which one asks for the event again: ``topic:partition:offset``."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    def as_dict(self) -> dict[str, object]:
        """Give what an answer says of it."""
        return {"topic": self.topic, "partition": self.partition, "offset": self.offset, "position": str(self)}

    @classmethod
    def parse(cls, text: str) -> Placed:
        """Read what :meth:`__str__` wrote. Raises ``ValueError``."""
        found = _POSITION.fullmatch(text)
        if found is None:
            raise ValueError(text)
        return cls(found[1], int(found[2]), int(found[3]))


class EventPublisher(Protocol):
    """Sends messages and waits until Kafka has acknowledged them."""

    def publish(self, messages: Sequence[Message]) -> list[Placed | IngestUnavailable]:
        """Send all of them; gives for each where it is, or why that is not known. Bounded in time and number."""

    def stop(self) -> None:
        """Let go of the connections."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The result for one event of a batch: HTTP's status for it, and what goes with that."""

    status: int
    details: dict[str, object]


class Ingest:
    """Takes events for one process.

    An event without an id of its own takes that of its request, if there is one, so that the request can be repeated.
    """

    def __init__(self, publisher: EventPublisher, event_types: EventTypes) -> None:
        self._publisher, self._event_types = publisher, event_types
        self.kafka_answers: bool | None = None
        """Whether Kafka acknowledged what was sent to it last; None before anything was."""

    def take(self, raw: bytes, now_ms: int, request_id: str | None = None) -> Placed:
        """Take one event, of at most ``LARGEST_EVENT`` bytes; ``now_ms`` stands in for an absent timestamp.

        Raises ``RejectedEvent`` or ``IngestUnavailable``.
        """
        event = parse_event(raw, topic_type=None, record_time_ms=now_ms, event_types=self._event_types)
        if event.event_id is None and request_id is not None:
            raw = with_request_id(raw, request_id)
        placed = self._published([self._message(event, raw)])[0]
        if isinstance(placed, IngestUnavailable):
            raise placed
        return placed

    def take_all(self, events: Sequence[object], now_ms: int, request_id: str | None = None) -> list[Taken]:
        """Take the events of a batch, each on its own: a wrong one stops no other."""
        judged = [
            self._judge(position, _with_id(event, None if request_id is None else f"{request_id}:{position}"), now_ms)
            for position, event in enumerate(events)
        ]
        placed = iter(self._published([each for each in judged if isinstance(each, Message)]))
        return [_result(next(placed) if isinstance(each, Message) else each) for each in judged]

    def _published(self, messages: Sequence[Message]) -> list[Placed | IngestUnavailable]:
        results = self._publisher.publish(messages)
        if results:
            self.kafka_answers = any(isinstance(each, Placed) for each in results)
        return results

    def _judge(self, position: int, event: object, now_ms: int) -> Message | RejectedEvent | Problem:
        raw = utf_8(event)
        if len(raw) > LARGEST_EVENT:
            return _too_large(f"events[{position}]", len(raw))
        try:
            known = event_from_value(event, raw, topic_type=None, record_time_ms=now_ms, event_types=self._event_types)
        except RejectedEvent as exc:
            return exc
        return self._message(known, raw)

    def _message(self, event: Event, raw: bytes) -> Message:
        return Message(self._event_types.topics[event.event_type], event.user_id.encode("utf-8"), raw)


def with_request_id(raw: bytes, request_id: str) -> bytes:
    """Give a record without an id of its own that of its request."""
    return utf_8(_with_id(json.loads(raw), request_id))


def _with_id(event: object, event_id: str | None) -> object:
    if event_id is None or not isinstance(event, dict) or event.get("event_id") is not None:
        return event
    return {**event, "event_id": event_id}


def utf_8(event: object) -> bytes:
    """Write decoded JSON as the text that goes to Kafka."""
    try:
        return orjson.dumps(event)
    except TypeError:  # an integer of more than 64 bits, half of a surrogate pair, or nested too deeply
        try:
            return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:  # written as an escape, it is refused like any wrong event
            return json.dumps(event).encode()


def _too_large(field: str, size: int) -> Problem:
    error = FieldError(field, size, f"at most {LARGEST_EVENT} bytes")
    return Problem(413, f"{field} has {size} bytes, at most {LARGEST_EVENT} are allowed", (error,))


def _result(outcome: Placed | IngestUnavailable | RejectedEvent | Problem) -> Taken:
    if isinstance(outcome, Placed):
        return Taken(202, outcome.as_dict())
    if isinstance(outcome, IngestUnavailable):
        return Taken(503, {"detail": str(outcome)})
    if isinstance(outcome, RejectedEvent):
        return Taken(400, {"field": Reason(outcome.reason).field, "reason": outcome.reason, "detail": outcome.detail})
    errors = [each.as_dict() for each in outcome.errors]
    return Taken(outcome.status, {"field": "", "reason": TOO_LARGE, "detail": outcome.detail, "errors": errors})
