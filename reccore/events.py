"""What an event is: the one parser behind the job and the HTTP edge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent, shown
from reccore.event_types import EventTypes
from reccore.timestamps import in_range, parse_timestamp

LARGEST_EVENT: Final = 1_000_000
"""Bytes. With key and envelope a record of that size is below Kafka's own default limit of 1,048,588."""
TOO_LARGE: Final = "too_large"
"""The reason where a larger one is refused on its way to Kafka; what is in Kafka is never refused for its size."""
LONGEST_ID: Final = 128
MOST_TAGS: Final = 32
LONGEST_TAG: Final = 64
DEEPEST_NESTING: Final = 64
"""Levels. Python's own limit depends on the caller's stack, and job and HTTP edge must agree."""


@dataclass(frozen=True, slots=True)
class Event:
    """A valid event.

    ``tags`` is None when the event names none, which the catalogue then answers for; ``metadata`` is as it was given.
    """

    event_id: str | None
    user_id: str
    product_id: str
    event_type: str
    time_ms: int
    tags: tuple[str, ...] | None
    metadata: Mapping[str, Any] | None = field(default=None, compare=False)


def parse_event(
    raw: bytes | None, *, topic_type: str | None, record_time_ms: int | None, event_types: EventTypes
) -> Event:
    """Read one event from the bytes of a Kafka record or an HTTP body.

    ``topic_type`` is the event type of the topic it came on (None: the event must name its own), ``record_time_ms`` the
    time that stands in for an absent timestamp. Raises :class:`RejectedEvent`.
    """
    value, text = decoded(raw)
    return event_from_value(value, text, topic_type=topic_type, record_time_ms=record_time_ms, event_types=event_types)


def event_from_value(
    value: object,
    raw: bytes,
    *,
    topic_type: str | None,
    record_time_ms: int | None,
    event_types: EventTypes,
) -> Event:
    """Read one event from decoded JSON, of which ``raw`` is the text. Raises :class:`RejectedEvent`."""
    fields = object_of(value, raw)
    return event_from_fields(fields, topic_type=topic_type, record_time_ms=record_time_ms, event_types=event_types)


def event_from_fields(
    fields: Mapping[str, object], *, topic_type: str | None, record_time_ms: int | None, event_types: EventTypes
) -> Event:
    """Read one event from a decoded JSON object; unknown members are left alone. Raises :class:`RejectedEvent`."""
    session_id, metadata = fields.get("session_id"), fields.get("metadata")
    if session_id is not None and not isinstance(session_id, str):
        raise RejectedEvent.member(Reason.INVALID_SESSION_ID, "session_id", session_id, "a string")
    if metadata is not None and not isinstance(metadata, dict):
        raise RejectedEvent.member(Reason.INVALID_METADATA, "metadata", metadata, "an object")
    return Event(
        event_id=event_id_of(fields),
        user_id=identifier(fields, ("user_id",), Reason.INVALID_USER_ID),
        product_id=identifier(fields, ("product_id", "item_id"), Reason.INVALID_PRODUCT_ID),
        event_type=_event_type(_first(fields, ("event_type", "action"))[1], topic_type, event_types),
        time_ms=time_of(fields, record_time_ms),
        tags=_tags(fields.get("tags")),
        metadata=metadata,
    )


def identity(event_id: str | None, topic: str, partition: int, offset: int) -> str:
    """Give the text under which an event counts once: its own id, or else the place of its record.

    The first character keeps the two apart, so no given id can collide with a place.
    """
    return f"@{topic}:{partition}:{offset}" if event_id is None else f"={event_id}"


def decoded(raw: bytes | None) -> tuple[object, bytes]:
    """Decode the bytes of a record as JSON; gives them back beside the value. Raises :class:`RejectedEvent`."""
    if raw is None:
        raise RejectedEvent(Reason.NULL_VALUE, "the record has no value, a JSON object is allowed")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise RejectedEvent(Reason.NOT_UTF8, f"byte {exc.start}: {exc.reason}") from exc
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as exc:
        raise RejectedEvent(Reason.NOT_JSON, f"nested deeper than {DEEPEST_NESTING} levels") from exc
    except ValueError as exc:
        raise RejectedEvent(Reason.NOT_JSON, str(exc).splitlines()[0][:160]) from exc
    return value, raw


def object_of(value: object, raw: bytes) -> Mapping[str, object]:
    """Give decoded JSON, of which ``raw`` is the text, as an object that every reader can read and write again.

    Raises :class:`RejectedEvent`.
    """
    if not isinstance(value, dict):
        raise RejectedEvent(Reason.NOT_AN_OBJECT, f"{shown(value)}, a JSON object is allowed")
    if raw.count(b"{") + raw.count(b"[") > DEEPEST_NESTING:
        _refuse_deep_nesting(value)
    if b"\\u" in raw:
        _refuse_lone_surrogates(value)
    return value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _refuse_deep_nesting(value: object) -> None:
    level: list[object] = [value]
    for _ in range(DEEPEST_NESTING):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ())
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise RejectedEvent(Reason.NOT_JSON, f"nested deeper than {DEEPEST_NESTING} levels")


def _refuse_lone_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise RejectedEvent(Reason.NOT_JSON, "a \\u escape is half of a surrogate pair") from exc


def _first(fields: Mapping[str, object], names: Sequence[str]) -> tuple[str, object]:
    """Give the first of a member's names that is there, with its value; the name itself where none is."""
    return next(((name, fields[name]) for name in names if fields.get(name) is not None), (names[0], None))


def event_id_of(fields: Mapping[str, object]) -> str | None:
    """Read ``event_id``, None where there is none. Raises :class:`RejectedEvent`."""
    value = fields.get("event_id")
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_ID:
        allowed = f"a string of 1 to {LONGEST_ID} characters"
        raise RejectedEvent.member(Reason.INVALID_EVENT_ID, "event_id", value, allowed)
    return value


def identifier(fields: Mapping[str, object], names: Sequence[str], reason: Reason) -> str:
    """Read an id, an integer as text; ``names`` are the member's name and its aliases.

    Raises :class:`RejectedEvent` with ``reason``.
    """
    field, value = _first(fields, names)
    # An integer of more digits than that has no text in Python by default, so its size is looked at first.
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 4 * LONGEST_ID:
        value = str(value)
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_ID:
        allowed = f"a string or an integer of 1 to {LONGEST_ID} characters"
        raise RejectedEvent.member(reason, field, value, allowed)
    return value


def _event_type(value: object, topic_type: str | None, event_types: EventTypes) -> str:
    if value is None and topic_type is not None:
        return topic_type
    named = event_types.canonical(value) if isinstance(value, str) else None
    if named is None:
        allowed = f"one of {', '.join(event_types.names)}"
        raise RejectedEvent.member(Reason.INVALID_EVENT_TYPE, "event_type", value, allowed)
    if topic_type is not None and named != topic_type:
        raise RejectedEvent.member(Reason.WRONG_TOPIC, "event_type", value, f"{topic_type}, which the topic carries,")
    return named


def time_of(fields: Mapping[str, object], record_time_ms: int | None) -> int:
    """Read ``timestamp`` or ``process_time`` as epoch milliseconds; ``record_time_ms`` stands in where there is none.

    Raises :class:`RejectedEvent`.
    """
    field, value = _first(fields, ("timestamp", "process_time"))
    try:
        if value is not None:
            return parse_timestamp(value)
        if record_time_ms is None:
            raise ValueError("no time given")
        return in_range(record_time_ms)
    except ValueError as exc:
        given = shown(value) if value is not None else f"absent, the record's own is {record_time_ms}"
        allowed = "epoch milliseconds, epoch seconds or ISO 8601 from 1970 to 9999"
        detail = f"{field}: {given} is {exc}; {allowed} is allowed"
        raise RejectedEvent(Reason.INVALID_TIMESTAMP, detail, (field, value, allowed)) from exc


def _tags(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MOST_TAGS:
        raise RejectedEvent.member(Reason.INVALID_TAGS, "tags", value, f"an array of at most {MOST_TAGS}")
    for tag in value:
        if not isinstance(tag, str) or not 1 <= len(tag) <= LONGEST_TAG:
            allowed = f"a string of 1 to {LONGEST_TAG} characters"
            raise RejectedEvent.member(Reason.INVALID_TAGS, "tags", tag, allowed)
    return tuple(dict.fromkeys(value))
