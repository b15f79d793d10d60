"""`/update`, `/update/batch` and `/send_rating`: events and ratings over HTTP."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence

from flask import Blueprint, Response, request
from pydantic_core import from_json

from reccore.errors import RejectedEvent
from reccore.events import LARGEST_EVENT
from recsvc import metrics
from recsvc.errors import IngestUnavailable, Problem
from recsvc.ingest import Ingest, Taken
from recsvc.problems import invalid, json_response, problem_response, read_body
from recsvc.ratings import Ratings

LARGEST_BATCH = 4_194_304
MOST_EVENTS = 1_000
LONGEST_REQUEST_ID = 120
"""Characters of an ``Idempotency-Key``: with the number of an event in its batch it is an event id."""
_OUTCOMES = {202: "accepted", 400: "rejected", 413: "rejected", 503: "unavailable"}


def ingest_routes(ingest: Ingest, ratings: Ratings) -> Blueprint:
    """The routes that take events and ratings."""
    routes = Blueprint("ingest", __name__)

    @routes.post("/update")
    def update() -> Response:
        try:
            placed = ingest.take(read_body(LARGEST_EVENT), now_ms(), _request_id())
        except IngestUnavailable:
            _count("unavailable")
            raise
        except (RejectedEvent, Problem):
            _count("rejected")
            raise
        _count("accepted")
        return json_response({"status": "accepted", **placed.as_dict()}, 202)

    @routes.post("/update/batch")
    def batch() -> Response:
        began = time.perf_counter()
        results = ingest.take_all(_events(read_body(LARGEST_BATCH)), now_ms(), _request_id())
        for outcome, number in Counter(_OUTCOMES[each.status] for each in results).items():
            metrics.ingested_events.labels(outcome).inc(number)
        return _batch_response(results, 1000 * (time.perf_counter() - began))

    @routes.post("/send_rating")
    def send_rating() -> Response:
        placed = ratings.take(read_body(LARGEST_EVENT), now_ms(), _request_id())
        return json_response({"status": "accepted", **placed.as_dict()}, 202)

    return routes


def _request_id() -> str | None:
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return None
    key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if not 1 <= len(key) <= LONGEST_REQUEST_ID or not key.isascii() or not key.isprintable():
        allowed = f"1 to {LONGEST_REQUEST_ID} printable ASCII characters"
        raise invalid("Idempotency-Key", given, allowed)
    return key


def _events(body: bytes) -> Sequence[object]:
    try:
        value = _decoded(body)
    except (ValueError, RecursionError) as exc:
        raise invalid("body", body[:40].decode("utf-8", "replace"), "a JSON array of events") from exc
    events = value.get("events") if isinstance(value, dict) else value
    if not isinstance(events, list) or not 1 <= len(events) <= MOST_EVENTS:
        raise invalid("events", events, f'an array of 1 to {MOST_EVENTS} events, or {{"events": […]}}')
    return events


def _decoded(body: bytes) -> object:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError:  # it also refuses half of a surrogate pair, which concerns one event only
        return json.loads(body, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _count(outcome: str) -> None:
    metrics.ingested_events.labels(outcome).inc()


def _batch_response(results: Sequence[Taken], took_ms: float) -> Response:
    """Answer 202 when Kafka has all that was not wrong, else say that the request should be repeated."""
    statuses = Counter(each.status for each in results)
    body: dict[str, object] = {
        "accepted": statuses[202],
        "rejected": [
            {"index": position, **each.details}
            for position, each in enumerate(results)
            if _OUTCOMES[each.status] == "rejected"
        ],
        "unavailable": statuses[503],
        "took_ms": round(took_ms, 3),
        "results": [
            {"index": position, "status": each.status, "outcome": _OUTCOMES[each.status], **each.details}
            for position, each in enumerate(results)
        ],
    }
    if statuses[503]:
        why = next(str(each.details["detail"]) for each in results if each.status == 503)
        detail = f"{statuses[503]} of {len(results)} events were not taken: {why}"
        return problem_response(Problem(503, detail, headers={"Retry-After": "1"}, members=body))
    if not statuses[202]:
        detail = f"every event was rejected, the first one: {results[0].details['detail']}"
        return problem_response(Problem(413 if statuses[413] == len(results) else 400, detail, members=body))
    return json_response(body, 202)


def now_ms() -> int:
    """Give the time, epoch ms."""
    return int(time.time() * 1000)
