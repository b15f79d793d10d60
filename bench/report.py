"""What a benchmark gives back: one table for people, one JSON file for programs."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Report:
    """One table and what stands behind it.

    ``data`` is written to the JSON file as it is; ``notes`` are printed below the table and say how it was measured.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Give the table as text, numbers to the right."""
        cells = [[_shown(cell) for cell in row] for row in self.rows]
        widths = [max(len(line[place]) for line in [list(self.columns), *cells]) for place in range(len(self.columns))]
        numeric = [all(not isinstance(row[place], str) for row in self.rows) for place in range(len(self.columns))]

        def line(texts: Sequence[str]) -> str:
            padded = (
                text.rjust(width) if right else text.ljust(width)
                for text, width, right in zip(texts, widths, numeric, strict=True)
            )
            return "  " + "  ".join(padded).rstrip()

        rule = "  " + "  ".join("-" * width for width in widths)
        return "\n".join(
            [self.title, line(self.columns), rule, *map(line, cells), *(f"  · {note}" for note in self.notes)]
        )

    def write(self, file: Path, *, quick: bool, seconds: float) -> None:
        """Write everything as JSON, with the machine and the time it was measured at."""
        document = {
            "title": self.title,
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "took_seconds": round(seconds, 1),
            "quick": quick,
            "machine": machine(),
            "columns": self.columns,
            "rows": self.rows,
            "notes": self.notes,
            **self.data,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(_finite(document), indent=1, ensure_ascii=False) + "\n")
        draft.replace(file)


def machine() -> dict[str, Any]:
    """Describe the machine, and how busy it was with other things."""
    return {
        "processors": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "load_average_1_minute": os.getloadavg()[0],
    }


def median(values: Sequence[float]) -> float:
    """Give the median, not-a-number of nothing."""
    return statistics.median(values) if values else math.nan


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value that ``share`` (0 to 1) of all values do not exceed: the nearest rank, nothing in between."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Give ``lowest–highest``."""
    return f"{_shown(round(min(values), digits))}–{_shown(round(max(values), digits))}" if values else ""


def significant(value: float, digits: int = 3) -> float:
    """Round to so many digits that mean something."""
    if not math.isfinite(value) or value == 0:
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def _shown(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return "–"
    if isinstance(cell, float) and (not cell.is_integer() or abs(cell) < 10):
        return f"{cell:,}"
    return cell if isinstance(cell, str) else f"{cell:,.0f}"


def _finite(value: Any) -> Any:
    """JSON knows no number that is none: null in its place."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
