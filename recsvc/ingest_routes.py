"""`/update` and `/update/batch`: events over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from flask import Blueprint, Response

from reccore.errors import RejectedEvent
from recsvc import metrics
from recsvc.errors import IngestUnavailable, Problem
from recsvc.ingest import LARGEST_EVENT, Ingest, Taken
from recsvc.problems import invalid, json_response, problem_response, read_body

LARGEST_BATCH = 4_194_304
MOST_EVENTS = 500
_OUTCOMES = {202: "accepted", 400: "rejected", 413: "rejected", 503: "unavailable"}


def ingest_routes(ingest: Ingest) -> Blueprint:
    """The routes that take events."""
    routes = Blueprint("ingest", __name__)

    @routes.post("/update")
    def update() -> Response:
        try:
            placed = ingest.take(read_body(LARGEST_EVENT), _now_ms())
        except IngestUnavailable:
            _count("unavailable")
            raise
        except (RejectedEvent, Problem):
            _count("rejected")
            raise
        _count("accepted")
        place = {"topic": placed.topic, "partition": placed.partition, "offset": placed.offset}
        return json_response({"status": "accepted", **place}, 202)

    @routes.post("/update/batch")
    def batch() -> Response:
        results = ingest.take_all(_events(read_body(LARGEST_BATCH)), _now_ms())
        for each in results:
            _count(_OUTCOMES[each.status])
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


def _count(outcome: str) -> None:
    metrics.ingested_events.labels(outcome).inc()


def _batch_response(results: Sequence[Taken]) -> Response:
    outcomes = [_OUTCOMES[each.status] for each in results]
    entries = [
        {"index": position, "status": each.status, "outcome": _OUTCOMES[each.status], **each.details}
        for position, each in enumerate(results)
    ]
    body: dict[str, object] = {name: outcomes.count(name) for name in ("accepted", "rejected", "unavailable")}
    body["results"] = entries
    headers = {"Retry-After": "1"} if "unavailable" in outcomes else {}
    statuses = {each.status for each in results}
    if statuses in ({413}, {503}):
        # Nothing was taken, and all for one reason: that is an error of the request as a whole.
        detail = "; ".join(dict.fromkeys(str(each.details["detail"]) for each in results))
        return problem_response(Problem(statuses.pop(), detail, headers=headers, members=body))
    return json_response(body, 202 if statuses == {202} else 207, headers)


def _now_ms() -> int:
    return int(time.time() * 1000)
