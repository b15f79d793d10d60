"""The metrics of `reweigh canary`, in one table."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from reccore.canary import OUTCOMES
from reccore.metric_names import MetricName

FRESHNESS: Final = MetricName(
    "event_to_recommendation_seconds",
    "histogram",
    (),
    "time from sending an event (POST /update) to its being in an answer (GET /recommend), as a caller sees both; one "
    "that was given up counts as what it was waited for",
)
EVENTS: Final = MetricName(
    "reweigh_canary_events_total",
    "counter",
    ("outcome",),
    "events by what became of them: seen, late (given up), refused (not acknowledged)",
)
METRICS: Final = (FRESHNESS, EVENTS)
_SECONDS: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""With an edge on the objective (docs/monitoring.md)."""


class Metrics:
    """They belong to one run, not to the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.freshness = Histogram(FRESHNESS.name, FRESHNESS.meaning, registry=self.registry, buckets=_SECONDS)
        self.events = Counter(EVENTS.name, EVENTS.meaning, EVENTS.labels, registry=self.registry)
        for outcome in OUTCOMES:
            self.events.labels(outcome)
