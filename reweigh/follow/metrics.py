"""The metrics of `reweigh follow`, in one table."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from reccore.metric_names import MetricName

PROCESSED: Final = MetricName(
    "follow_messages_total", "counter", ("topic", "outcome"), "records carried into Redis (applied), or refused (dead)"
)
LAG: Final = MetricName("follow_lag_records", "gauge", (), "records that Kafka holds and Redis has not got")
METRICS: Final = (PROCESSED, LAG)


class Metrics:
    """They belong to one run, not to the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.processed = Counter(PROCESSED.name, PROCESSED.meaning, PROCESSED.labels, registry=self.registry)
        self.lag = Gauge(LAG.name, LAG.meaning, registry=self.registry)
