"""How numbers are answered."""

from __future__ import annotations

from typing import Final

_EXACT_INTEGER: Final = 2.0**53


def number(value: float) -> int | float:
    """Give a score as a JSON number, an integral one without a fraction; all scores are finite."""
    value = float(value)
    return int(value) if value.is_integer() and -_EXACT_INTEGER < value < _EXACT_INTEGER else value
