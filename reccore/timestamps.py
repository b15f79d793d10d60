"""Event times: the three notations that the contract takes, as epoch milliseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

EARLIEST_MS: Final = 0
LATEST_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z."""

_SECONDS_BELOW: Final = 1e11
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
# `fromisoformat` takes any character between date and time; ISO 8601 (and RFC 3339's blank) does not.
_ISO_8601: Final = re.compile(r"\d{4}-?(?:\d{2}-?\d{2}|W\d{2}-?\d)(?:[Tt ][0-9:.,]+(?:[Zz]|[+-][0-9:.]+)?)?", re.ASCII)


def parse_timestamp(value: object) -> int:
    """Read an event time and give it as epoch milliseconds.

    An integral number from 1e11 is milliseconds, a number below it seconds, a string ISO 8601 (without offset: UTC).
    Raises ``ValueError`` saying what is wrong; years outside 1970–9999 are.
    """
    if isinstance(value, str):
        return in_range(_from_iso_8601(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("neither a number nor a string")
    if isinstance(value, int) and value >= _SECONDS_BELOW:
        return in_range(value)
    if not value >= 0:
        raise ValueError("before 1970")
    if value < _SECONDS_BELOW:
        return in_range(round(value * 1000))
    if not float(value).is_integer():  # infinity included
        raise ValueError("milliseconds have no fraction")
    return in_range(int(value))


def in_range(milliseconds: int) -> int:
    """Give ``milliseconds`` back when it lies in 1970–9999, else raise ``ValueError``."""
    if not EARLIEST_MS <= milliseconds <= LATEST_MS:
        raise ValueError("outside the years 1970 to 9999")
    return milliseconds


def iso_8601(milliseconds: int) -> str:
    """Give an epoch-millisecond time as ISO 8601 in UTC, e.g. ``2026-01-31T12:00:00.250Z``."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _from_iso_8601(text: str) -> int:
    if not _ISO_8601.fullmatch(text):
        raise ValueError("not ISO 8601")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as exc:
        raise ValueError("not a time of ISO 8601") from exc
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND
