"""The metrics of what Redis holds and how it is written, in one table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from reccore.metric_names import MetricName
from reccore.write_figures import WriteFigures
from recsvc.stored_figures import StoredFigures

KEYS: Final = MetricName(
    "reweigh_redis_keys", "gauge", ("node",), "keys of the Redis database; on a cluster of each master"
)
BYTES: Final = MetricName(
    "reweigh_redis_used_bytes", "gauge", ("node",), "memory that Redis has allocated; on a cluster that of each master"
)
USERS: Final = MetricName(
    "reweigh_users_estimated",
    "gauge",
    (),
    "users with a profile, by the part that they are of 500 keys drawn at each scrape: two thirds of the readings are "
    "within 10 %",
)
EVENT_SECONDS: Final = MetricName(
    "reweigh_event_to_redis_seconds",
    "histogram",
    ("writer",),
    "time from an event, as it names it, to its user's row in Redis, a row once for each tag and product; events "
    "older than an hour are left out; since the writer's start",
)
WRITE_SECONDS: Final = MetricName(
    "reweigh_redis_write_seconds",
    "histogram",
    ("writer",),
    "duration of a batch's write, with all attempts; since the writer's start",
)
WRITE_ROWS: Final = MetricName(
    "reweigh_redis_write_rows", "histogram", ("writer",), "rows of a batch that was written; since the writer's start"
)
DIFFERENCES: Final = MetricName(
    "reweigh_verify_differences",
    "gauge",
    (),
    "fields in Redis that differed from a recount of the log when `reweigh verify` last looked, up to 20 of each kind",
)
VERIFY_AGE: Final = MetricName("reweigh_verify_age_seconds", "gauge", (), "time since `reweigh verify` last looked")

STORED_METRICS: Final = (
    KEYS,
    BYTES,
    USERS,
    EVENT_SECONDS,
    WRITE_SECONDS,
    WRITE_ROWS,
    DIFFERENCES,
    VERIFY_AGE,
)


class StoredCollector(Collector):
    """What Redis tells when Prometheus asks; nothing is shown while it is away."""

    def __init__(self, read: Callable[[], StoredFigures | None], now: Callable[[], float] = time.time) -> None:
        self._read, self._now = read, now

    def collect(self) -> Iterator[Metric]:
        """Give the figures."""
        found = self._read()
        if found is None:
            return
        keys, used = (GaugeMetricFamily(each.name, each.meaning, labels=list(each.labels)) for each in (KEYS, BYTES))
        for node, figures in found.nodes.items():
            keys.add_metric([node], figures.keys)
            used.add_metric([node], figures.used_bytes)
        yield keys
        yield used
        yield GaugeMetricFamily(USERS.name, USERS.meaning, value=sum(each.users for each in found.nodes.values()))
        if found.verified is not None:
            yield GaugeMetricFamily(DIFFERENCES.name, DIFFERENCES.meaning, value=found.verified.differences)
            age = max(0.0, self._now() - found.verified.at)
            yield GaugeMetricFamily(VERIFY_AGE.name, VERIFY_AGE.meaning, value=age)
        yield from _histograms(found.writing)


def _histograms(writing: Mapping[str, WriteFigures]) -> Iterator[Metric]:
    metrics = {"event_seconds": EVENT_SECONDS, "write_seconds": WRITE_SECONDS, "write_rows": WRITE_ROWS}
    for name, metric in metrics.items():
        family = HistogramMetricFamily(metric.name, metric.meaning, labels=list(metric.labels))
        for writer, figures in writing.items():
            buckets = dict(figures.named())[name]
            if sum(buckets.counts):  # most writers have no events of their own
                family.add_metric([writer], buckets.cumulative(), buckets.total)
        yield family
