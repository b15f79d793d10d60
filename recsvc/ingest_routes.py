"""`/update` and `/update/batch`: events over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from flask import Blueprint, Response

from recsvc import metrics
from recsvc.ingest import Ingest, Taken
from recsvc.problems import invalid, json_response, read_body

LARGEST_EVENT = 1_000_000
LARGEST_BATCH = 4_194_304
MOST_EVENTS = 500
_OUTCOMES = {202: "accepted", 400: "rejected", 503: "unavailable"}


def ingest_routes(ingest: Ingest) -> Blueprint:
    """The routes that take events."""
    routes = Blueprint("ingest", __name__)

    @routes.post("/update")
    def update() -> Response:
        placed = ingest.take(read_body(LARGEST_EVENT), _now_ms())
        metrics.ingested_events.labels("accepted").inc()
        place = {"topic": placed.topic, "partition": placed.partition, "offset": placed.offset}
        return json_response({"status": "accepted", **place}, 202)

    @routes.post("/update/batch")
    def batch() -> Response:
        results = ingest.take_all(_events(read_body(LARGEST_BATCH)), _now_ms())
        for each in results:
            metrics.ingested_events.labels(_OUTCOMES[each.status]).inc()
        return _batch_response(results)

    return routes


def _events(body: bytes) -> Sequence[object]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise invalid("body", body[:40].decode("utf-8", "replace"), "a JSON array of events") from exc
    events = value.get("events") if isinstance(value, dict) else value
    if not isinstance(events, list) or not 1 <= len(events) <= MOST_EVENTS:
        raise invalid("events", events, f'an array of 1 to {MOST_EVENTS} events, or {{"events": […]}}')
    return events


def _batch_response(results: Sequence[Taken]) -> Response:
    accepted = sum(each.status == 202 for each in results)
    entries = [
        {"index": position, "status": each.status, "outcome": _OUTCOMES[each.status], **each.details}
        for position, each in enumerate(results)
    ]
    unavailable = sum(each.status == 503 for each in results)
    # 202 only when Kafka has acknowledged every event; a part of them is told as a whole of several statuses.
    status = 202 if accepted == len(results) else 503 if unavailable == len(results) else 207
    body = {"accepted": accepted, "rejected": len(results) - accepted - unavailable, "unavailable": unavailable}
    return json_response({**body, "results": entries}, status, {"Retry-After": "1"} if unavailable else None)


def _now_ms() -> int:
    return int(time.time() * 1000)
