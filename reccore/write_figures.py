"""How the job's writing goes, in buckets, as each writer notes it in ``{stats}:writing``.

Flink's reporter carries no distribution that Python measures, and its counters count replayed records again, under the
names of operators. So each writer keeps its own buckets since its start, and notes them beside what it writes, at most
once a second; the service shows them as histograms. A writer that starts anew begins at zero, as counters may.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

EVENT_SECONDS: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
WRITE_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
WRITE_ROWS: Final = (1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0)
LIVE_SECONDS: Final = 3_600
"""An event that is older when it is written was sent late or is being replayed: its age says nothing of the job."""


@dataclass(slots=True)
class Buckets:
    """How many values were at most each edge, and above all of them; and their sum."""

    edges: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.edges) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value

    def add_counted(self, counts: Iterable[int], total: float) -> None:
        """Add values that were counted by the same edges already, and their sum."""
        self.counts = [old + new for old, new in zip(self.counts, counts, strict=True)]
        self.total += total

    def cumulative(self) -> list[tuple[str, float]]:
        """Give each edge as Prometheus writes it, with how many values are at most that; the last edge is ``+Inf``."""
        found, so_far = list[tuple[str, float]](), 0
        for edge, count in zip((*map(str, self.edges), "+Inf"), self.counts, strict=True):
            so_far += count
            found.append((edge, so_far))
        return found


@dataclass(slots=True)
class WriteFigures:
    """Of one writer: seconds from an event to Redis, seconds of a batch's write, rows of a batch."""

    event_seconds: Buckets = field(default_factory=lambda: Buckets(EVENT_SECONDS))
    write_seconds: Buckets = field(default_factory=lambda: Buckets(WRITE_SECONDS))
    write_rows: Buckets = field(default_factory=lambda: Buckets(WRITE_ROWS))

    def add_write(self, rows: int, seconds: float) -> None:
        """Count one batch."""
        self.write_rows.add(rows)
        self.write_seconds.add(seconds)

    def encode(self) -> str:
        """Write them down."""
        return json.dumps({name: [of.edges, of.counts, of.total] for name, of in self.named()}, separators=(",", ":"))

    def named(self) -> tuple[tuple[str, Buckets], ...]:
        """Give each with its name."""
        return (
            ("event_seconds", self.event_seconds),
            ("write_seconds", self.write_seconds),
            ("write_rows", self.write_rows),
        )


def decode_figures(text: str) -> WriteFigures:
    """Read what :meth:`WriteFigures.encode` has written, by whichever version. Raises ``ValueError``."""
    try:
        parts = {
            name: Buckets(tuple(map(float, edges)), [int(each) for each in counts], float(total))
            for name, (edges, counts, total) in json.loads(text).items()
        }
        figures = WriteFigures(**parts)
    except (TypeError, AttributeError) as exc:
        raise ValueError(f"no figures of a writer: {text[:40]}") from exc
    if any(len(of.counts) != len(of.edges) + 1 for _, of in figures.named()):
        raise ValueError("figures of a writer need one count more than edges")
    return figures
