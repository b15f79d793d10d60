"""Which tags of a user are kept when there are more than may be: those with the most events, ties by name.

Events of all types count alike, so weights don't matter. Nor does the order: counts only grow, so a tag that is among
the first at the end never had that many others before it, and leaving out the others again and again, at whatever
moments, ends with what one look at the final counts would keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from reccore import encoding

Rank: TypeAlias = tuple[int, str]
"""Where a tag stands among a user's: the first has the least."""


class Leaving(NamedTuple):
    """Which tags of a user have to go, and where the last of those that stay stands when some are beyond the cap.

    As counts only grow, a tag that comes after that one will have to go too, now or whenever else.
    """

    expired: list[str]
    beyond: list[str]
    last_kept: Rank | None


def rank(tag: str, row: str) -> Rank:
    """Tell where a tag stands, by its row of counts; what is none of ours has no events, so that it goes first."""
    return -_events(encoding.counts_of_row(row)), tag


@dataclass(frozen=True, slots=True)
class RowCap:
    """How many tags of a user are kept at most, and after how many seconds without events a tag expires (0: never)."""

    most: int
    tag_expiry_seconds: int = 0

    def leaving(self, rows: Mapping[str, str], now: float) -> Leaving:
        """Tell which tags of one user have to go: expired ones, and those beyond the cap.

        An expired tag must not take the place of a living one, whatever it has counted.

        Args:
            rows: The user's counts hash, tag → row.
            now: Epoch seconds.
        """
        if len(rows) <= self.most:
            return Leaving([], [], None)
        expired = [tag for tag, row in rows.items() if self._expired(row, now)] if self.tag_expiry_seconds else []
        gone = set(expired)
        ranked = sorted(rank(tag, row) for tag, row in rows.items() if tag not in gone)
        beyond = [tag for _, tag in ranked[self.most :]]
        return Leaving(expired, beyond, ranked[self.most - 1] if beyond and self.most else None)

    def _expired(self, row: str, now: float) -> bool:
        try:
            return encoding.decode_counts(row).expired(now, self.tag_expiry_seconds)
        except ValueError:
            return False


@lru_cache(maxsize=10_000)
def _events(joined: str) -> int:
    try:
        return sum(encoding.split_counts(joined))
    except ValueError:
        return -1
