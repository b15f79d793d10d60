"""How a metric is described in the tables of metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricName:
    """One metric: its name as scraped, kind, labels and meaning."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
