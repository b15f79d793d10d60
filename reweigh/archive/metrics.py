"""The metrics of `reweigh archive run`, in one table."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from reccore.metric_names import MetricName

PROCESSED: Final = MetricName(
    "messages_processed_total", "counter", ("outcome",), "records read, by outcome: archived, duplicate, dead"
)
FLUSHED: Final = MetricName(
    "messages_flushed_total", "counter", ("trigger",), "events written, by what called for it: size, time, shutdown"
)
DURATION: Final = MetricName(
    "parquet_write_duration_seconds", "histogram", (), "duration of a flush: files, commit and all"
)
BUFFER: Final = MetricName("processor_buffer_size", "gauge", (), "events in memory that no file holds yet")
LAG: Final = MetricName("processor_lag_records", "gauge", (), "records that Kafka holds and the archive has not read")
FAILURES: Final = MetricName(
    "archive_write_failures_total", "counter", (), "attempts to write that failed, and will be repeated"
)
LOST: Final = MetricName(
    "archive_lost_records_total", "counter", (), "records that Kafka had deleted before the archive read them"
)
METRICS: Final = (PROCESSED, FLUSHED, DURATION, BUFFER, LAG, FAILURES, LOST)
_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """They belong to one run, not to the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.processed = Counter(PROCESSED.name, PROCESSED.meaning, PROCESSED.labels, registry=self.registry)
        self.flushed = Counter(FLUSHED.name, FLUSHED.meaning, FLUSHED.labels, registry=self.registry)
        self.duration = Histogram(DURATION.name, DURATION.meaning, registry=self.registry, buckets=_SECONDS)
        self.buffer = Gauge(BUFFER.name, BUFFER.meaning, registry=self.registry)
        self.lag = Gauge(LAG.name, LAG.meaning, registry=self.registry)
        self.failures = Counter(FAILURES.name, FAILURES.meaning, registry=self.registry)
        self.lost = Counter(LOST.name, LOST.meaning, registry=self.registry)
