"""The totals that prove that no record went missing: records in = applied + duplicates + dead letters.

The job keeps them as counts in its state and writes them absolutely, so they stay right through a recovery. What is
counted: ``read:<topic>`` records read, ``applied:<event type>`` events counted once, ``dead:<reason>`` dead letters,
and ``untagged`` events applied without tags. Duplicates are what is left over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

READ_PREFIX = "read:"
APPLIED_PREFIX = "applied:"
DEAD_PREFIX = "dead:"
UNTAGGED = "untagged"


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals since the beginning of the log; they add up when the job is at rest."""

    read: dict[str, int] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    dead: dict[str, int] = field(default_factory=dict)
    untagged: int = 0
    dropped_tags: int = 0
    dropped_items: int = 0
    """Kept beside the others, since no record is accounted for by these (:mod:`reccore.row_cap`)."""

    @property
    def records_in(self) -> int:
        """Records read from all topics."""
        return sum(self.read.values())

    @property
    def duplicates(self) -> int:
        """Valid records whose event had been counted already; never below 0 while the parts are being written."""
        return max(0, self.records_in - sum(self.applied.values()) - sum(self.dead.values()))


def totals_from_rows(rows: Mapping[str, int]) -> Totals:
    """Sort the rows of ``{stats}:totals`` (name → count) into totals."""

    def part(prefix: str) -> dict[str, int]:
        return {name.removeprefix(prefix): count for name, count in rows.items() if name.startswith(prefix)}

    return Totals(part(READ_PREFIX), part(APPLIED_PREFIX), part(DEAD_PREFIX), rows.get(UNTAGGED, 0))
