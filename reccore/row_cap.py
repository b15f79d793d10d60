"""Which tags of a user are kept when there are more than may be: those with the most events, ties by name.

Events of all types count alike, so weights don't matter. Nor does the order: counts only grow, so a tag that is among
the first at the end never had that many others before it, and leaving out the others again and again, at whatever
moments, ends with what one look at the final counts would keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reccore import encoding


@dataclass(frozen=True, slots=True)
class RowCap:
    """How many tags of a user are kept at most, and after how many seconds without events a tag expires (0: never)."""

    most: int
    tag_expiry_seconds: int = 0

    def leaving(self, rows: Mapping[str, str], now: float) -> tuple[list[str], list[str]]:
        """Tell which tags of one user have to go: expired ones, and those beyond the cap.

        An expired tag must not take the place of a living one, whatever it has counted.

        Args:
            rows: The user's counts hash, tag → row.
            now: Epoch seconds.
        """
        if len(rows) <= self.most:
            return [], []
        expired = [tag for tag, row in rows.items() if self._expired(row, now)] if self.tag_expiry_seconds else []
        gone = set(expired)
        ranked = sorted((-_events(row), tag) for tag, row in rows.items() if tag not in gone)
        return expired, [tag for _, tag in ranked[self.most :]]

    def _expired(self, row: str, now: float) -> bool:
        try:
            return encoding.decode_counts(row).expired(now, self.tag_expiry_seconds)
        except ValueError:
            return False


def _events(row: str) -> int:
    """Count the events of all types in a row; what is none of ours has none, so that it goes first."""
    try:
        return sum(encoding.split_counts(encoding.counts_of_row(row)))
    except ValueError:
        return -1
