"""Odd records, read one by one by the rules of ``docs/data_dictionary.md``, whatever they hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from reweigh.verify.names import TYPE_ALIASES

_MOST_LEVELS: Final = 64
_LAST_MS: Final = 253_402_300_799_999
_MILLISECONDS_FROM: Final = 100_000_000_000
_DATE: Final = r"\d{4}-\d{2}-\d{2}|\d{8}|\d{4}-W\d{2}-\d|\d{4}W\d{3}"
_WHEN: Final = re.compile(rf"({_DATE})(?:[Tt ]([0-9:.,]+)([Zz]|[+-][0-9:.]+)?)?", re.ASCII)


class Odd(NamedTuple):
    """An event that was read; ``event_id`` and ``tags`` are None where it names none."""

    event_id: str | None
    user_id: str
    product_id: str
    type: int
    time_ms: int
    tags: list[str] | None
    numbers: list[int | None]
    """Of the metadata, in thousandths; None for what is no number from 0 to a thousand million."""


class Dead(Exception):
    """The record is no event. The only argument is the reason, by the name under which dead letters are counted."""


class CarefulReader:
    """Reads any record. ``types`` are the names of the event types, ``numbers`` the members of metadata to be read."""

    def __init__(self, types: Sequence[str], numbers: Sequence[str]) -> None:
        self._numbers = tuple(numbers)
        codes = {name: code for code, name in enumerate(types)}
        self._codes = {**codes, **{alias: codes[name] for alias, name in TYPE_ALIASES.items()}}

    def read(self, value: bytes | None, type_of_topic: int, arrived_ms: int) -> Odd:
        """Read one record of a topic that carries ``type_of_topic``. Raises :class:`Dead`."""
        members = _members(value)
        given = {name: member for name, member in members.items() if member is not None}
        # Where several rules are broken, the first of these names the reason.
        _require(isinstance(given.get("session_id", ""), str), "invalid_session_id")
        _require(isinstance(given.get("metadata", {}), dict), "invalid_metadata")
        event_id, metadata = given.get("event_id"), given.get("metadata", {})
        _require(event_id is None or (isinstance(event_id, str) and 1 <= len(event_id) <= 128), "invalid_event_id")
        return Odd(
            event_id,
            _identifier(given.get("user_id"), "invalid_user_id"),
            _identifier(given.get("product_id", given.get("item_id")), "invalid_product_id"),
            self._type(given.get("event_type", given.get("action")), type_of_topic),
            _time(given.get("timestamp", given.get("process_time", _Arrived(arrived_ms)))),
            _tags(given.get("tags")),
            [_thousandths(metadata.get(name)) for name in self._numbers],
        )

    def _type(self, given: object, type_of_topic: int) -> int:
        if given is None:
            return type_of_topic
        code = self._codes.get(given) if isinstance(given, str) else None
        _require(code is not None, "invalid_event_type")
        _require(code == type_of_topic, "wrong_topic")
        return type_of_topic


class _Arrived(NamedTuple):
    """Kafka's own time of a record, which stands in for a time that it does not name."""

    ms: int


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise Dead(reason)


def _members(value: bytes | None) -> Mapping[str, Any]:
    if value is None:
        raise Dead("null_value")
    try:
        text = str(value, "utf-8")
    except UnicodeDecodeError as exc:
        raise Dead("not_utf8") from exc
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise Dead("not_json") from exc
    _require(isinstance(found, dict), "not_an_object")
    _require(_levels(text) <= _MOST_LEVELS and not _has_half_a_pair(found), "not_json")
    members: Mapping[str, Any] = found
    return members


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _levels(text: str) -> int:
    """Count how deep valid JSON is nested, by its brackets outside of texts."""
    deepest = level = 0
    for bracket in re.sub(r'"(?:[^"\\]|\\.)*"|[^][{}]', "", text):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def _has_half_a_pair(value: object) -> bool:
    """Whether a text in it, or a name, holds one half of a surrogate pair, which no UTF-8 can say."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str) and any("\ud800" <= character <= "\udfff" for character in each):
            return True
        if isinstance(each, dict):
            left += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            left += each
    return False


def _identifier(given: object, reason: str) -> str:
    if isinstance(given, int) and not isinstance(given, bool) and abs(given) < 10**128:
        given = str(given)
    if not isinstance(given, str) or not 1 <= len(given) <= 128:
        raise Dead(reason)
    return given


def _time(given: object) -> int:
    if isinstance(given, _Arrived):
        found: int | None = given.ms
    elif isinstance(given, str):
        found = _read_text(given)
    elif isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0:
        found = None
    elif given < _MILLISECONDS_FROM:
        found = round(given * 1000)
    else:  # infinity is no whole number either
        found = int(given) if isinstance(given, int) or given.is_integer() else None
    if found is None or not 0 <= found <= _LAST_MS:
        raise Dead("invalid_timestamp")
    return found


def _read_text(text: str) -> int | None:
    if not _WHEN.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _thousandths(given: object) -> int | None:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 10**9:
        return None
    return round(given * 1000)


def _tags(given: object) -> list[str] | None:
    if given is None:
        return None
    if not isinstance(given, list) or len(given) > 32:
        raise Dead("invalid_tags")
    for tag in given:
        _require(isinstance(tag, str) and 1 <= len(tag) <= 64, "invalid_tags")
    return list(dict.fromkeys(given))
