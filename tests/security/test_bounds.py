"""What each route bounds, and what no route does: the rows of `docs/security.md`, on stand-ins."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reccore.events import LARGEST_EVENT, LONGEST_ID
from reccore.interests import MOST_ITEMS
from reccore.ratings import MOST_RATINGS
from reccore.weights import LARGEST_DOCUMENT
from recsvc.app import create_app
from recsvc.catalogue import MOST_PRODUCTS
from recsvc.guests import MOST_SESSION_EVENTS
from recsvc.ingest_routes import LARGEST_BATCH, MOST_EVENTS
from recsvc.interest_routes import LARGEST_REQUEST
from recsvc.interests import MOST_OTHERS
from recsvc.own_writes import MOST_WAIT_MS
from recsvc.rate_limit import Rate
from recsvc.recent_events import MOST_EVENTS as MOST_RECENT_EVENTS
from recsvc.recommend_routes import LARGEST_N, LARGEST_SESSION, MOST_EXCLUDED
from recsvc.settings import Settings
from recsvc.user_routes import LARGEST_BODY, MOST_USERS
from tests.recsvc.conftest import TYPES, Bench, bench

__all__ = ["bench"]  # a fixture of the service's tests

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "security.md"
KEY = {"X-API-Key": "key"}
EVENT = {"user_id": "u", "product_id": "p", "event_type": "view"}
RATING = {"user_id": "u", "product_id": "p", "rating": 5}
PROBLEM = "application/problem+json"
SESSION = {"product_id": "p", "event_type": "view"}
BODIES = {
    ("POST", "/recommend/session"): (LARGEST_SESSION, {"events": [SESSION]}),
    ("POST", "/profiles"): (LARGEST_BODY, {"user_ids": ["u"]}),
    ("POST", "/update"): (LARGEST_EVENT, EVENT),
    ("POST", "/update/batch"): (LARGEST_BATCH, [EVENT]),
    ("POST", "/send_rating"): (LARGEST_EVENT, RATING),
    ("POST", "/push_interest/"): (LARGEST_REQUEST, {"user_id": "u"}),
    ("POST", "/send_kafka/"): (LARGEST_REQUEST, {"user_id": "u"}),
    ("PUT", "/api/config/weights"): (LARGEST_DOCUMENT, {"view": 1, "add_to_cart": 3, "purchase": 5}),
}
"""The largest body of each route that takes one, and one that is right."""


def row(request: str) -> str:
    """The row of the document's table of limits."""
    [found] = re.findall(rf"^\| `?{re.escape(request)}`? \|.*$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    return str(found)


def gunicorn(name: str) -> int:
    """A number of gunicorn's configuration, which sets environment variables when it is imported."""
    [found] = re.findall(rf"^{name} = (\d+)$", (ROOT / "recsvc" / "gunicorn_conf.py").read_text(), re.MULTILINE)
    return int(found)


@pytest.mark.parametrize(
    ("request_line", "numbers"),
    [
        ("GET /recommend/<user_id>", (LONGEST_ID, LARGEST_N, MOST_EXCLUDED, MOST_WAIT_MS)),
        ("POST /recommend/session", (LARGEST_SESSION, MOST_SESSION_EVENTS)),
        ("GET /recommendations/<user_id>", (LONGEST_ID,)),
        ("GET /similar/<product_id>", (LONGEST_ID,)),
        ("GET /products", (MOST_PRODUCTS, LONGEST_ID)),
        ("GET /products/<product_id>", (LONGEST_ID,)),
        ("GET /features/<user_id>", (LONGEST_ID,)),
        ("GET /users/<user_id>/events", (LONGEST_ID, MOST_RECENT_EVENTS)),
        ("GET /profile/<user_id>", (LONGEST_ID,)),
        ("POST /profiles", (LARGEST_BODY, MOST_USERS, LONGEST_ID)),
        ("POST /update", (LARGEST_EVENT,)),
        ("POST /update/batch", (LARGEST_BATCH, MOST_EVENTS, LARGEST_EVENT)),
        ("POST /send_rating", (LARGEST_EVENT,)),
        ("GET /users/<user_id>/ratings", (LONGEST_ID, MOST_RATINGS)),
        ("POST /push_interest/`, `POST /send_kafka/", (LARGEST_REQUEST, LONGEST_ID, MOST_ITEMS, MOST_OTHERS + 1)),
        ("GET /interests/<user_id>", (LONGEST_ID,)),
        ("PUT /api/config/<name>", (LARGEST_DOCUMENT,)),
        (
            "any",
            (gunicorn("limit_request_line"), gunicorn("limit_request_field_size"), gunicorn("limit_request_fields")),
        ),
    ],
)
def test_the_documented_limits_are_those_of_the_code(request_line: str, numbers: tuple[int, ...]) -> None:
    """Each number of the code stands in its row."""
    for number in numbers:
        assert re.search(rf"(?<![\d,]){number:,}(?![\d,])", row(request_line)), number


def test_every_route_has_a_row(bench: Bench) -> None:
    """All that the application answers, but health, metrics, documentation, and what reads the configuration."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("| request | body |")[2].partition("\n\n")[0]
    rows = {line: re.findall(r"`([A-Z]+) (/[^`]*)`", line.split("|")[1]) for line in text.splitlines() if "|" in line}
    named = {(method, unnamed(path)): line for line, requests in rows.items() for method, path in requests}
    routes = {
        (method, unnamed(rule.rule))
        for rule in bench.http.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint.partition(".")[0] not in ("health", "docs")
    }
    assert set(named) == routes - {("GET", "/api/config/<>")}
    for (method, path), (limit, _) in BODIES.items():
        path = path if method == "POST" else "/api/config/<>"
        assert named[method, path].split("|")[2].strip() == f"{limit:,} bytes"


def test_the_largest_body_of_every_route_is_tried(bench: Bench) -> None:
    """What `/openapi.json` describes a body of is among ``BODIES``; documents of the configuration share a limit."""
    described = {
        (method.upper(), path)
        for path, methods in bench.http.get("/openapi.json").json["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    }
    assert described - {("PUT", "/api/config/ranking")} == set(BODIES)


def test_the_documented_rates_are_those_of_the_code(bench: Bench) -> None:
    """Each route is in the row of the limit that refuses it, and in no other."""
    settings = Settings(
        event_types=TYPES, config_api_keys=("key",), read_limit=Rate(1, 3600), ingest_limit=Rate(1, 3600)
    )
    http: Any = create_app(settings, bench.services).test_client()
    described: dict[str, dict[str, Any]] = http.get("/openapi.json").json["paths"]
    http.get("/profile/u")
    http.post("/update", json=EVENT)
    for path, methods in described.items():
        for method in {"get", "put", "post"} & set(methods):
            answer = http.open(re.sub(r"\{[^}]*\}", "1", path), method=method, json=None if method == "get" else {})
            found = re.search(r"the limit of (\w+) requests", answer.text) if answer.status_code == 429 else None
            limited = found[1] if found else ""
            shown = "reading the configuration" if "/config/" in path else f"`{re.sub(r'{.*|session$', '…', path)}`"
            for name, variable in (("read", "API_READ_LIMIT"), ("ingest", "API_INGEST_LIMIT")):
                assert (shown in row(variable)) == (limited == name or (method, name) == ("put", "read")), path


def unnamed(path: str) -> str:
    """A path, as the application or the document writes it, without the names of its variables."""
    return re.sub(r"<[^>]*>", "<>", path)


@pytest.mark.parametrize(
    ("method", "path", "limit", "fitting"), [(*request, *largest) for request, largest in BODIES.items()]
)
def test_a_body_of_the_limit_is_read_and_a_larger_one_refused(
    bench: Bench, method: str, path: str, limit: int, fitting: object
) -> None:
    """To the byte; without a length, 411."""
    body = json.dumps(fitting).encode()
    statuses = []
    for size in (limit, limit + 1):
        padded = body + b" " * (size - len(body))
        answer = bench.http.open(path, method=method, data=padded, headers=KEY, content_type="application/json")
        statuses.append(answer.status_code)
        assert answer.status_code < 300 or answer.content_type == PROBLEM
    assert statuses[0] in (200, 202)
    assert statuses[1] == 413
    chunked = {**KEY, "Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    assert bench.http.open(path, method=method, headers=chunked).status_code == 411


@pytest.mark.parametrize(
    ("method", "path", "fitting", "too_much"),
    [
        ("GET", "/recommend/{}", "u" * LONGEST_ID, "u" * (LONGEST_ID + 1)),
        ("GET", "/profile/{}", "u" * LONGEST_ID, "u" * (LONGEST_ID + 1)),
        ("GET", "/recommend/u?n={}", "100", "101"),
        ("GET", "/recommend/u?exclude={}", "p," * MOST_EXCLUDED, "p," * (MOST_EXCLUDED + 1)),
        ("GET", "/recommend/u?exclude={}", "p" * LONGEST_ID, "p" * (LONGEST_ID + 1)),
        ("GET", "/recommend/u?category={}", "c" * LONGEST_ID, "c" * (LONGEST_ID + 1)),
        ("GET", "/products?n={}", str(MOST_PRODUCTS), str(MOST_PRODUCTS + 1)),
        ("GET", "/features/{}", "u" * LONGEST_ID, "u" * (LONGEST_ID + 1)),
        (
            "POST",
            "/recommend/session",
            {"events": [SESSION] * MOST_SESSION_EVENTS},
            {"events": [SESSION] * (MOST_SESSION_EVENTS + 1)},
        ),
        ("POST", "/profiles", {"user_ids": ["u"] * MOST_USERS}, {"user_ids": ["u"] * (MOST_USERS + 1)}),
        ("POST", "/profiles", {"user_ids": ["u" * LONGEST_ID]}, {"user_ids": ["u" * (LONGEST_ID + 1)]}),
        ("POST", "/update/batch", [EVENT] * MOST_EVENTS, [EVENT] * (MOST_EVENTS + 1)),
        ("POST", "/update", EVENT, {**EVENT, "user_id": "u" * (LONGEST_ID + 1)}),
        ("GET", "/users/u/ratings?n={}", str(MOST_RATINGS), str(MOST_RATINGS + 1)),
        ("GET", "/users/{}/ratings", "u" * LONGEST_ID, "u" * (LONGEST_ID + 1)),
        ("GET", "/interests/{}", "u" * LONGEST_ID, "u" * (LONGEST_ID + 1)),
        ("POST", "/send_rating", RATING, {**RATING, "rating": 5.1}),
        ("POST", "/send_rating", RATING, {**RATING, "user_id": "u" * (LONGEST_ID + 1)}),
        ("POST", "/push_interest/", {"user_id": "u" * LONGEST_ID}, {"user_id": "u" * (LONGEST_ID + 1)}),
        ("POST", "/update", EVENT, {**EVENT, "tags": [str(n) for n in range(33)]}),
    ],
)
def test_counts_and_lengths(bench: Bench, method: str, path: str, fitting: Any, too_much: Any) -> None:
    """The largest is taken, one more is a 400 that names it."""
    answers = [
        bench.http.open(path.format(each) if isinstance(each, str) else path, method=method, json=each)
        for each in (fitting, too_much)
    ]
    assert answers[0].status_code in (200, 202)
    assert (answers[1].status_code, answers[1].content_type) == (400, PROBLEM)
    assert len(answers[1].data) < 2_000


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/api/config/weights", {"X-HTTP-Method-Override": "PUT"}),
        ("PATCH", "/api/config/weights", {}),
        ("DELETE", "/api/config/weights", {}),
        ("PUT", "/api/config/weights", {"X-Original-URL": "/livez"}),
        ("PUT", "/api/config/weights", {"Authorization": "Basic a2V5OmtleQ=="}),
        ("PUT", "/api/config/weights?key=key&api_key=key&X-API-Key=key", {}),
        ("PUT", "/api/config/weights", {"Cookie": "X-API-Key=key"}),
        ("PUT", "//api/config/weights", {}),
        ("PUT", "/api/config/Weights", KEY),
        ("PUT", "/api/config/./weights", KEY),
        ("PUT", "/api/config/weights/", KEY),
        ("PUT", "/recommend/../api/config/weights", {}),
    ],
)
def test_no_other_way_to_the_configuration(bench: Bench, method: str, path: str, headers: dict[str, str]) -> None:
    """Whatever the method, its override, the spelling of the path, or the place where a key is put."""
    before = bench.http.get("/api/config/weights").json
    answer = bench.http.open(path, method=method, headers=headers, json={"view": 9, "add_to_cart": 9, "purchase": 9})
    assert answer.status_code in (401, 403, 404, 405)
    assert answer.content_type == PROBLEM
    assert bench.http.get("/api/config/weights").json == before


def test_headers_that_name_places_change_nothing(bench: Bench) -> None:
    """No answer holds the host that a request names, and none leads anywhere else."""
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil.example"}
    for path in ("/", "/recommend/u", "/recommend//evil.example", "/api/config/weights", "/docs", "/openapi.json"):
        answer = bench.http.get(path, headers=headers)
        assert answer.status_code < 300 or answer.content_type == PROBLEM
        assert "Location" not in answer.headers
        assert "evil.example" not in answer.text.replace('"user_id":"/evil.example"', "")


def test_answers_tell_browsers_what_they_may_not_do(bench: Bench) -> None:
    """Types are not guessed, no cookie is set, no other origin is let in, and nothing tells versions of libraries."""
    for method, path in (("GET", "/recommend/u"), ("GET", "/docs"), ("GET", "/nothing"), ("OPTIONS", "/update")):
        headers = bench.http.open(path, method=method, headers={"Origin": "https://evil.example"}).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert not {"Set-Cookie", "Access-Control-Allow-Origin", "X-Powered-By"} & set(headers.keys())


def test_every_route_is_described(bench: Bench) -> None:
    """What answers is in `/openapi.json`, but for the documentation itself."""
    described = {re.sub(r"\{[^}]*\}", "<>", path) for path in bench.http.get("/openapi.json").json["paths"]}
    routes = {re.sub(r"<[^>]*>", "<>", rule.rule) for rule in bench.http.application.url_map.iter_rules()}
    assert {"/api/config/<>" if path.startswith("/api/config/") else path for path in described} == routes - {
        "/docs",
        "/docs/static/<>",
        "/openapi.json",
        "/redoc",
        "/redoc/static/<>",
        "/ops/static/<>",
    }
