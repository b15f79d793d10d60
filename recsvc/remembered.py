"""A memory for what follows from the counts of a row: they repeat so often that most are looked up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from reccore.layout import counts_of_row, split_counts

T = TypeVar("T")
_MOST: Final = 50_000


class ByCounts(Generic[T]):
    """Gives ``make(counts)`` for stored rows, and remembers it by the counts as they are written."""

    def __init__(self, make: Callable[[tuple[int, ...]], T]) -> None:
        self._make = make
        self._known: dict[str, T] = {}

    def of(self, row: str) -> T:
        """Give what follows from one row's counts."""
        counts = counts_of_row(row)
        try:
            return self._known[counts]
        except KeyError:
            if len(self._known) >= _MOST:
                self._known.clear()
            made = self._known[counts] = self._make(split_counts(counts))
            return made
