"""`/livez`, `/readyz`, `/health` and `/metrics`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry

from recsvc.metrics import ModelCollector, TotalsCollector, collected_text, process_text
from recsvc.problems import json_response
from recsvc.services import Services
from recsvc.stored_metrics import StoredCollector


def health_routes(services: Services, http_metrics: CollectorRegistry, *, multiprocess: bool) -> Blueprint:
    """The routes for who watches over the service."""
    routes = Blueprint("health", __name__)

    @routes.get("/livez")
    def livez() -> Response:
        return json_response({"status": "alive"})

    @routes.get("/readyz")
    def readyz() -> Response:
        state = _state(services)
        ready = bool(state["statistics"]["loaded"])
        return json_response({"status": _word(ready, state), **state}, 200 if ready else 503)

    @routes.get("/health")
    def health() -> Response:
        state = _state(services)
        return json_response({"status": _word(bool(state["statistics"]["loaded"]), state), **state})

    @routes.get("/metrics")
    def metrics() -> Response:
        stored = TotalsCollector(services.totals), StoredCollector(services.stored), ModelCollector(services.model)
        text = process_text(http_metrics, multiprocess) + collected_text(*stored)
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _state(services: Services) -> dict[str, Any]:
    weights = services.weights
    redis, zookeeper = services.redis_available(), weights.connected
    return {
        "degraded": not (redis and zookeeper),
        "redis": {"available": redis},
        "zookeeper": {"available": zookeeper},
        "kafka": {"available": services.ingest.kafka_answers},  # answers need none, so they are not degraded without
        "weights": {
            "known": weights.in_force.known,
            "version": weights.in_force.version,
            "rejected_documents": weights.rejected,
        },
        "statistics": {"loaded": services.statistics_loaded()},
    }


def _word(ready: bool, state: dict[str, Any]) -> str:
    return "starting" if not ready else "degraded" if state["degraded"] else "ready"
