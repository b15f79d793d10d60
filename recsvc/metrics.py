"""Every metric of the service, in one table, and how the totals in Redis join them at a scrape."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reccore.metric_names import MetricName
from reccore.totals import Totals
from recsvc.models.model import Model

log = logging.getLogger(__name__)


STREAM_RECORDS = MetricName(
    "reweigh_stream_records_total",
    "counter",
    ("outcome",),
    "records of the event topics by outcome: read, applied, duplicate, dead; read is the sum of the others at rest",
)
STREAM_READ = MetricName("reweigh_stream_read_total", "counter", ("topic",), "records read by topic")
STREAM_APPLIED = MetricName(
    "reweigh_stream_applied_total", "counter", ("event_type",), "events counted once, by event type"
)
DEAD_LETTERS = MetricName("reweigh_dead_letters_total", "counter", ("reason",), "dead letters by reason")
UNTAGGED = MetricName("reweigh_untagged_events_total", "counter", (), "events applied without tags")
DROPPED_TAGS = MetricName(
    "reweigh_dropped_tags_total",
    "counter",
    (),
    "tags that left a user who had more than MOST_TAGS_PER_USER; one that comes back and leaves again counts again",
)
DROPPED_ITEMS = MetricName(
    "reweigh_dropped_items_total",
    "counter",
    (),
    "products that left a user who had more than MOST_PRODUCTS_PER_USER; one that comes back and leaves counts again",
)
WEIGHTS_VERSION = MetricName(
    "reweigh_weights_version", "gauge", (), "version of the weights in force, the lowest of the workers"
)
REJECTED_WEIGHTS = MetricName(
    "reweigh_rejected_documents_total", "counter", ("name",), "invalid configuration documents refused, by worker sum"
)
DEGRADED = MetricName("reweigh_degraded_answers_total", "counter", (), "answers while Redis or ZooKeeper was away")
FALLBACKS = MetricName(
    "reweigh_fallbacks_total",
    "counter",
    ("reason",),
    "answers that are not what was asked for: redis_away (users as last seen by this worker), zookeeper_away (weights "
    "as last known), no_profile (popular products for a user of whom nothing speaks), filled_up (popular products "
    "behind too few of the user's own)",
)
WORKER_VERSION = MetricName(
    "reweigh_worker_weights_version", "gauge", ("pid",), "version of the weights in force in each worker that runs"
)
WEIGHTS_DELAY = MetricName(
    "reweigh_weights_delay_seconds",
    "histogram",
    (),
    "time from a change of the weights in ZooKeeper, by its clock, to their use in a worker; not in the worker that "
    "made the change itself",
)
INGESTED = MetricName("reweigh_ingested_events_total", "counter", ("outcome",), "events taken over HTTP, by outcome")
ANSWERS = MetricName(
    "reweigh_recommend_answers_total", "counter", ("source",), "answers of /recommend by source: profile or popular"
)
RECOMMENDED = MetricName(
    "reweigh_recommended_products_total", "counter", ("source",), "products recommended, by the source of their score"
)
MODEL_VERSION = MetricName("reweigh_model_version", "gauge", (), "version of the trained model that is loaded")
MODEL_AGE = MetricName("reweigh_model_age_seconds", "gauge", (), "time since that model was trained")
MODEL_NDCG = MetricName(
    "reweigh_model_ndcg",
    "gauge",
    ("ranking",),
    "NDCG@10 of each ranking, as training has measured it on held-out events",
)
LIMITED = MetricName(
    "reweigh_limited_requests_total", "counter", ("limit",), "requests refused by a rate limit: read, ingest or config"
)
REFUSED = MetricName(
    "reweigh_refused_requests_total",
    "counter",
    (),
    "requests refused with 503 because too many waited already; they get no route, and are in no other metric",
)
HTTP_DURATION = MetricName(
    "http_request_duration_seconds", "histogram", ("method", "status", "route"), "duration of requests by route"
)
HTTP_TOTAL = MetricName("http_request_total", "counter", ("method", "status"), "requests")

METRICS = (
    STREAM_RECORDS,
    STREAM_READ,
    STREAM_APPLIED,
    DEAD_LETTERS,
    UNTAGGED,
    DROPPED_TAGS,
    DROPPED_ITEMS,
    WEIGHTS_VERSION,
    REJECTED_WEIGHTS,
    DEGRADED,
    FALLBACKS,
    WORKER_VERSION,
    WEIGHTS_DELAY,
    INGESTED,
    ANSWERS,
    RECOMMENDED,
    MODEL_VERSION,
    MODEL_AGE,
    MODEL_NDCG,
    LIMITED,
    REFUSED,
    HTTP_DURATION,
    HTTP_TOTAL,
)

weights_version = Gauge(WEIGHTS_VERSION.name, WEIGHTS_VERSION.meaning, multiprocess_mode="livemin")
worker_weights_version = Gauge(WORKER_VERSION.name, WORKER_VERSION.meaning, multiprocess_mode="liveall")
weights_delay = Histogram(
    WEIGHTS_DELAY.name, WEIGHTS_DELAY.meaning, buckets=(0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)
)
fallbacks = Counter(FALLBACKS.name, FALLBACKS.meaning, FALLBACKS.labels)
rejected_documents = Counter(REJECTED_WEIGHTS.name, REJECTED_WEIGHTS.meaning, REJECTED_WEIGHTS.labels)
degraded_answers = Counter(DEGRADED.name, DEGRADED.meaning)
ingested_events = Counter(INGESTED.name, INGESTED.meaning, INGESTED.labels)
recommend_answers = Counter(ANSWERS.name, ANSWERS.meaning, ANSWERS.labels)
recommended_products = Counter(RECOMMENDED.name, RECOMMENDED.meaning, RECOMMENDED.labels)
limited_requests = Counter(LIMITED.name, LIMITED.meaning, LIMITED.labels)
refused_requests = Counter(REFUSED.name, REFUSED.meaning)


# A series that begins with its first count shows no increase: those whose values are known begin at 0.
for _reason in ("redis_away", "zookeeper_away", "no_profile", "filled_up"):
    fallbacks.labels(_reason)
_answers_by = {own: recommend_answers.labels("profile" if own else "popular") for own in (True, False)}
for _limit in ("read", "ingest", "config"):
    limited_requests.labels(_limit)


def count_degraded(answer: Mapping[str, Any]) -> None:
    """Count an answer that says of itself that it is degraded."""
    if answer["degraded"]:
        degraded_answers.inc()


def count_answer(sources: Sequence[str], *, connected: bool, own: bool, filled: bool) -> None:
    """Count an answer, its products by what each is there for, and what of it is not what was asked for.

    But for Redis: where that is away is noticed elsewhere.
    """
    _answers_by[own].inc()
    for source in set(sources):
        recommended_products.labels(source).inc(sources.count(source))
    if not connected:
        fallbacks.labels("zookeeper_away").inc()
    if not own:
        fallbacks.labels("no_profile").inc()
    elif filled:
        fallbacks.labels("filled_up").inc()


class TotalsCollector(Collector):
    """The job's totals, read when Prometheus asks; nothing is shown while Redis is away."""

    def __init__(self, read: Callable[[], Totals | None]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Give the totals as counters: they are absolute, and right after a recovery too."""
        totals = self._read()
        if totals is None:
            return
        applied, dead = sum(totals.applied.values()), sum(totals.dead.values())
        outcomes = {"read": totals.records_in, "applied": applied, "duplicate": totals.duplicates, "dead": dead}
        yield _family(STREAM_RECORDS, outcomes)
        yield _family(STREAM_READ, totals.read)
        yield _family(STREAM_APPLIED, totals.applied)
        yield _family(DEAD_LETTERS, totals.dead)
        yield CounterMetricFamily(UNTAGGED.name, UNTAGGED.meaning, value=totals.untagged)
        for dropped, value in ((DROPPED_TAGS, totals.dropped_tags), (DROPPED_ITEMS, totals.dropped_items)):
            yield CounterMetricFamily(dropped.name, dropped.meaning, value=value)


class ModelCollector(Collector):
    """The model that this process has loaded; nothing is shown without one."""

    def __init__(self, model: Callable[[], Model | None], now: Callable[[], float] = time.time) -> None:
        self._model, self._now = model, now

    def collect(self) -> Iterator[Metric]:
        """Give its version, age and figures."""
        model = self._model()
        if model is None:
            return
        age = self._now() - datetime.fromisoformat(model.trained_at).timestamp()
        yield GaugeMetricFamily(MODEL_VERSION.name, MODEL_VERSION.meaning, value=model.version)
        yield GaugeMetricFamily(MODEL_AGE.name, MODEL_AGE.meaning, value=age)
        figures = GaugeMetricFamily(MODEL_NDCG.name, MODEL_NDCG.meaning, labels=list(MODEL_NDCG.labels))
        for name, quality in (model.training.get("qualities") or {}).items():
            figures.add_metric([name], quality["ndcg"]["mean"])
        yield figures


def _family(metric: MetricName, values: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(metric.name, metric.meaning, labels=list(metric.labels))
    for label, value in sorted(values.items()):
        family.add_metric([label], value)
    return family


def collected_text(*collectors: Collector) -> bytes:
    """Give what is collected at a scrape as Prometheus text."""
    registry = CollectorRegistry(auto_describe=False)
    for each in collectors:
        registry.register(each)
    return generate_latest(registry)


def process_text(http: CollectorRegistry, multiprocess: bool) -> bytes:
    """Give the metrics of the workers (all of them under gunicorn, else of this process) as Prometheus text."""
    if not multiprocess:
        return generate_latest(http) + generate_latest(REGISTRY)
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
