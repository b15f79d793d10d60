"""Events of a file as Kafka records: the same rules as the job's, and an identity for each."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent
from reccore.event_types import EventTypes
from reccore.events import event_from_fields, parse_event
from reweigh.behaviour import as_event, columns, number_or_text
from reweigh.lines import BEHAVIOUR, JSON_LINES, PARQUET, RETAILROCKET, Row, is_text

# What RetailRocket calls the fields.
_RETAILROCKET: Final = {"visitorid": "user_id", "itemid": "product_id", "event": "event_type", "timestamp": "timestamp"}


@dataclass(frozen=True, slots=True)
class Record:
    """One record for Kafka; ``key`` is the user id, None when a line that is sent as it is names none."""

    event_type: str
    key: bytes | None
    value: bytes


ToRecord = Callable[[Row], Record]
"""Turns a row into a record, or raises ``RejectedEvent``."""


def reader(fmt: str, event_types: EventTypes, *, namespace: str = "", validate: bool = True) -> ToRecord:
    """Give the function that turns rows of a format into records.

    An event without an ``event_id`` gets one made of ``namespace``, its line number and its content, so a file that is
    loaded twice counts once, and equal lines of one file stay distinct.
    """
    if not validate:
        return lambda row: as_it_is(row, fmt, event_types)
    if fmt == JSON_LINES:
        return lambda row: _from_json(row, event_types, namespace)
    return lambda row: _from_fields(row_fields(row, fmt), row, event_types, namespace)


def made_id(namespace: str, row: Row) -> str:
    """The identity of an event that has none; the same for the same row of the same file."""
    digest = hashlib.blake2b(row.raw, digest_size=16, key=namespace.encode()[:64])
    return f"line-{row.number}-{digest.hexdigest()}"


def _from_json(row: Row, event_types: EventTypes, namespace: str) -> Record:
    event = parse_event(row.raw, topic_type=None, record_time_ms=0, event_types=event_types)
    value = row.raw
    if event.event_id is None:
        given = json.dumps(made_id(namespace, row)).encode()
        if b'"event_id"' in value:  # it is null, and of two members with one name the last would win
            value = json.dumps({**json.loads(value), "event_id": made_id(namespace, row)}).encode()
        else:
            value = b'{"event_id": ' + given + b", " + value[1:]
    return Record(event.event_type, event.user_id.encode(), value)


def _from_fields(fields: dict[str, object], row: Row, event_types: EventTypes, namespace: str) -> Record:
    fields.setdefault("event_id", made_id(namespace, row))
    event = event_from_fields(fields, topic_type=None, record_time_ms=0, event_types=event_types)
    return Record(event.event_type, event.user_id.encode(), json.dumps(fields).encode())


def row_fields(row: Row, fmt: str) -> dict[str, object]:
    """Give a row as the members of an event. Raises ``RejectedEvent`` for what is no text or no object."""
    given = row.fields
    if given is None and fmt == BEHAVIOUR and row.raw:
        given = _object(row.raw)
    if given is None:
        raise RejectedEvent(Reason.NOT_AN_OBJECT, "not a row of CSV")
    if not is_text(given):
        raise RejectedEvent(Reason.NOT_UTF8, "a cell is not UTF-8")
    if fmt == BEHAVIOUR:
        return as_event(given, columns(list(given)))
    if fmt == PARQUET:
        return _parquet_fields(given)
    if fmt == RETAILROCKET:
        return _csv_fields({name: given[column] for column, name in _RETAILROCKET.items() if column in given})
    return _csv_fields(given)


def _object(line: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise RejectedEvent(Reason.NOT_JSON, "a JSON object is required") from exc
    if not isinstance(value, dict):
        raise RejectedEvent(Reason.NOT_AN_OBJECT, "a JSON object is required")
    return value


def _csv_fields(cells: Mapping[str, object]) -> dict[str, object]:
    fields: dict[str, object] = dict(cells)
    for name in ("timestamp", "process_time"):
        if name in cells:
            fields[name] = number_or_text(str(cells[name]))
    if "tags" in cells:
        fields["tags"] = [tag for tag in (part.strip() for part in str(cells["tags"]).split("|")) if tag]
    if "metadata" in cells:
        fields["metadata"] = _metadata(str(cells["metadata"]))
    return fields


def _parquet_fields(cells: Mapping[str, object]) -> dict[str, object]:
    """Take typed columns: whole numbers as ids, also where a missing one has made floats of them, texts as JSON."""
    fields: dict[str, object] = {}
    for name, value in cells.items():
        if isinstance(value, float) and not math.isfinite(value):  # how some writers say that there is none
            continue
        fields[name] = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(metadata := fields.get("metadata"), str):
        fields["metadata"] = _metadata(metadata)
    return fields


def _metadata(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise RejectedEvent(Reason.INVALID_METADATA, "metadata: a JSON object is allowed") from exc


def as_it_is(row: Row, fmt: str, event_types: EventTypes) -> Record:
    """Give a row unjudged: to the topic and key that can be read in it, else to the first topic without a key."""
    fields: object = None
    value = row.raw
    if fmt == JSON_LINES:
        try:
            fields = json.loads(value)
        except (ValueError, RecursionError):
            fields = None
    else:
        try:
            fields = row_fields(row, fmt)
        except RejectedEvent:
            fields = {**(row.fields or {})}
        value = json.dumps(fields, default=str).encode()
    if not isinstance(fields, dict):
        return Record(event_types.names[0], None, value)
    named = fields.get("event_type") or fields.get("action")
    event_type = event_types.canonical(named) if isinstance(named, str) else None
    user = fields.get("user_id")
    key = str(user).encode("utf-8", "replace") if isinstance(user, str | int) and user != "" else None
    return Record(event_type or event_types.names[0], key, value)
