"""A memory for what follows from the counts of a row: they repeat so often that most are looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

from reccore.encoding import counts_of_row, split_counts

T = TypeVar("T")
_MOST: Final = 50_000


class ByCounts(Generic[T]):
    """Gives ``make(counts)`` for stored rows, and remembers it by the counts as they are written."""

    def __init__(self, make: Callable[[tuple[int, ...]], T]) -> None:
        self._make = make
        self._known: dict[str, T] = {}

    def of_all(self, rows: Mapping[str, str]) -> dict[str, T]:
        """Give what follows from each row's counts; one loop, because a request has many rows."""
        known, found = self._known, {}
        for field, row in rows.items():
            counts = counts_of_row(row)
            found[field] = known[counts] if counts in known else self._learn(counts)
        return found

    def _learn(self, counts: str) -> T:
        if len(self._known) >= _MOST:
            self._known = {}
        made = self._known[counts] = self._make(split_counts(counts))
        return made
