"""What becomes of one message: a record for Kafka, or a dead letter. By the same rules as an event over HTTP."""

from __future__ import annotations

import json
from typing import Final

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent
from reccore.event_types import EventTypes
from reccore.events import LARGEST_EVENT, TOO_LARGE, parse_event
from recsvc.ingest import Message

REFUSED_BY_KAFKA: Final = "refused_by_kafka"


def judged(body: bytes, event_types: EventTypes, *, identity: str, timestamp: int | None, now_ms: int) -> Message:
    """Read one event and give its record: to the topic of its type, keyed by user.

    Args:
        body: The message's body, one JSON object.
        event_types: Those that exist.
        identity: Its ``event_id`` where it names none: a message that comes again is then the same event.
        timestamp: The message's own time, which stands for an absent one of the event: epoch seconds, by AMQP.
        now_ms: Stands for both; it is not written into the record, whose Kafka time then counts.

    Raises:
        RejectedEvent: The event breaks the contract, or is larger than a record may be.
    """
    if len(body) > LARGEST_EVENT:
        raise RejectedEvent(TOO_LARGE, f"{len(body)} bytes, at most {LARGEST_EVENT} are allowed")
    event = parse_event(body, topic_type=None, record_time_ms=now_ms, event_types=event_types)
    if event.event_id is None or timestamp is not None:
        given = json.loads(body)
        added: dict[str, object] = {} if event.event_id is not None else {"event_id": identity}
        if timestamp is not None and given.get("timestamp") is None and given.get("process_time") is None:
            added["timestamp"] = timestamp
        if added:
            body = json.dumps(given | added, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
            parse_event(body, topic_type=None, record_time_ms=now_ms, event_types=event_types)
    return Message(event_types.topics[event.event_type], event.user_id.encode("utf-8"), body)


def rejection_headers(exc: RejectedEvent) -> dict[str, str]:
    """Give the headers of a dead letter: ``x-reason``, ``x-detail``, and ``x-field`` where one field is wrong."""
    headers = {"x-reason": str(exc.reason), "x-detail": exc.detail}
    if exc.reason in tuple(Reason) and (field := Reason(exc.reason).field):
        headers["x-field"] = field
    return headers
