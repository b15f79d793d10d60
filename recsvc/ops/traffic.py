"""Requests by route, as counted by all workers, out of what Prometheus is given."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from recsvc import metrics
from recsvc.ops.look import Part

# Who watches is no traffic.
_WATCHING: Final = ("/ops", "/livez", "/readyz", "/health", "/metrics", "/docs", "/redoc", "/openapi.json")


def read_traffic(http: CollectorRegistry, *, multiprocess: bool) -> Part:
    """Give, since the start, ``edges`` (seconds) and by route how many requests took at most each, and the failures.

    ``buckets`` is cumulative, its last number that of all requests; ``errors`` those answered 5xx, ``refused`` 4xx.
    ``overloaded`` are those that got 503 before they had a route, and are in no other number.
    """
    registries = [http, REGISTRY]
    if multiprocess:
        registries = [CollectorRegistry()]
        MultiProcessCollector(registries[0])  # type: ignore[no-untyped-call]
    routes: dict[str, dict[str, Any]] = defaultdict(lambda: {"buckets": defaultdict(int), "errors": 0, "refused": 0})
    totals = dict.fromkeys((metrics.DEGRADED.name, metrics.REFUSED.name), 0)
    for family in (each for registry in registries for each in registry.collect()):
        if (total := f"{family.name}_total") in totals:
            totals[total] += sum(int(each.value) for each in family.samples if each.name == total)
        elif family.name == metrics.HTTP_DURATION.name:
            for sample in family.samples:
                name = sample.labels.get("route", "")
                if not name.startswith(_WATCHING):
                    _count(routes[name], sample.name, sample.labels, int(sample.value))
    edges = sorted({edge for route in routes.values() for edge in route["buckets"]})
    for route in routes.values():
        route["buckets"] = [route["buckets"][edge] for edge in edges]
    shown = [edge for edge in edges if edge != float("inf")]
    return {
        "edges": shown,
        "routes": {name: routes[name] for name in sorted(routes)},
        "degraded_answers": totals[metrics.DEGRADED.name],
        "overloaded": totals[metrics.REFUSED.name],
    }


def _count(route: dict[str, Any], sample: str, labels: dict[str, str], value: int) -> None:
    if sample.endswith("_bucket"):
        route["buckets"][float(labels["le"])] += value
    elif sample.endswith("_count"):
        status = labels.get("status", "")
        route["errors"] += value if status.startswith("5") else 0
        route["refused"] += value if status.startswith("4") else 0
