"""The description of the HTTP interface (OpenAPI 3.1), and the pages that show it without the internet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flask_openapi_redoc  # type: ignore[import-untyped]
import flask_openapi_swagger  # type: ignore[import-untyped]
from flask import Blueprint, Response, send_from_directory

from reccore.events import LONGEST_ID
from reccore.ratings import MOST_RATINGS
from recsvc.catalogue import MOST_PRODUCTS, PRODUCTS
from recsvc.ingest_routes import LONGEST_REQUEST_ID, MOST_EVENTS
from recsvc.openapi_ops import ops_paths
from recsvc.openapi_parts import answer, body, in_path, in_query, operation
from recsvc.openapi_recommend import recommend_paths
from recsvc.openapi_shapes import FREE, INTEGER, NUMBER, SCHEMAS, STRING, list_of, object_of, reference
from recsvc.own_writes import MOST_WAIT_MS, STATES, WAIT_MS
from recsvc.problems import json_response
from recsvc.ratings import RATINGS
from recsvc.recent_events import MOST_EVENTS as MOST_RECENT_EVENTS
from recsvc.recent_events import RECENT_EVENTS

_STATIC = Path(flask_openapi_swagger.__file__).parent / "templates" / "swagger"
_REDOC_STATIC = Path(flask_openapi_redoc.__file__).parent / "templates" / "redoc"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Reweigh</title>
<link rel="stylesheet" href="/docs/static/css/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/static/js/swagger-ui-bundle.js"></script>
<script src="/docs/static/js/swagger-ui-standalone-preset.js"></script>
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", validatorUrl: null});</script>
</body></html>
"""

_REDOC_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Reweigh</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>body { margin: 0 }</style></head>
<body><div id="redoc"></div>
<script src="/redoc/static/js/redoc.standalone.js"></script>
<script>Redoc.init("/openapi.json", {}, document.getElementById("redoc"));</script>
</body></html>
"""


def document(config_names: list[str]) -> dict[str, Any]:
    """Build the OpenAPI document; ``config_names`` is the allow-list of configuration documents."""
    user = in_path("user_id", minLength=1, maxLength=LONGEST_ID)
    product = in_path("product_id", minLength=1, maxLength=LONGEST_ID)
    place = {"topic": STRING, "partition": INTEGER, "offset": INTEGER, "position": STRING}
    accepted = object_of(status={"const": "accepted"}, **place)
    after = {
        "name": "after",
        "in": "query",
        "schema": STRING,
        "description": "position of an accepted event: the answer waits for it, and its member `after` says what "
        f"became of it: {', '.join(STATES)}",
    }
    wait_ms = {
        "name": "wait_ms",
        "in": "query",
        "schema": {"type": "integer", "minimum": 0, "maximum": MOST_WAIT_MS, "default": WAIT_MS},
    }
    newest = {
        "name": "n",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_RECENT_EVENTS, "default": RECENT_EVENTS},
    }
    user_ids = object_of(user_ids={**list_of({"type": ["string", "integer"]}), "maxItems": 500})
    events = object_of(events={**list_of(reference("Event")), "maxItems": MOST_EVENTS})
    ok = {"200": answer("it works", FREE)}
    text = {"200": {"description": "metrics", "content": {"text/plain": {"schema": STRING}}}}
    request_id = {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {**STRING, "minLength": 1, "maxLength": LONGEST_REQUEST_ID},
        "description": "id of an event that has none (in a batch with ':' and its index), so that a repeat counts once",
    }
    if_match = {"name": "If-Match", "in": "header", "schema": STRING, "description": "ETag that must be in force"}
    paths: dict[str, Any] = {
        **recommend_paths(user, product, after, wait_ms),
        "/users/{user_id}/events": {
            "parameters": [user, newest],
            "get": operation(
                "The newest events, by their own time", {"200": answer("the events", reference("Events"))}, 400, 429
            ),
        },
        "/users/{user_id}/ratings": {
            "parameters": [
                user,
                in_query("n", {"type": "integer", "minimum": 1, "maximum": MOST_RATINGS, "default": RATINGS}),
            ],
            "get": operation("The newest ratings", {"200": answer("the ratings", reference("Ratings"))}, 400, 429),
        },
        "/interests/{user_id}": {
            "parameters": [user],
            "get": operation(
                "The vector of interests, by tag", {"200": answer("the vector", reference("Interests"))}, 400, 429
            ),
        },
        "/profile/{user_id}": {
            "parameters": [user],
            "get": operation("Score by tag", {"200": answer("the profile", reference("Profile"))}, 400, 429),
        },
        "/features/{user_id}": {
            "parameters": [user],
            "get": operation(
                "What models use: by product, by category",
                {"200": answer("the features", reference("Features"))},
                400,
                429,
            ),
        },
        "/products": {
            "get": operation(
                "A page of the catalogue, by product id",
                {"200": answer("the products", reference("Products"))},
                *(400, 429),
                parameters=[
                    in_query("category", {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}),
                    in_query("min_price", {"type": "number", "minimum": 0}),
                    in_query("max_price", {"type": "number", "minimum": 0}),
                    in_query("n", {"type": "integer", "minimum": 1, "maximum": MOST_PRODUCTS, "default": PRODUCTS}),
                    in_query("after", {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}),
                ],
            )
        },
        "/products/{product_id}": {
            "parameters": [product],
            "get": operation("One product", {"200": answer("the product", reference("ProductDetails"))}, 400, 404, 429),
        },
        "/profiles": {
            "post": operation(
                "Profiles of up to 500 users",
                {"200": answer("the profiles", reference("Profiles"))},
                *(400, 411, 413, 415, 429),
                requestBody=body(user_ids),
            )
        },
        "/update": {
            "post": operation(
                "Take one event",
                {"202": answer("Kafka has acknowledged it", accepted)},
                *(400, 411, 413, 415, 429, 503),
                requestBody=body(reference("Event")),
                parameters=[request_id],
            )
        },
        "/update/batch": {
            "post": operation(
                "Take several events, each with its own result",
                {"202": answer("Kafka has acknowledged all that were not rejected", reference("Batch"))},
                *(400, 411, 413, 415, 429, 503),
                requestBody=body({"anyOf": [events, events["properties"]["events"]]}),
                parameters=[request_id],
            )
        },
        "/send_rating": {
            "post": operation(
                "Take one rating",
                {"202": answer("Kafka has acknowledged it", accepted)},
                *(400, 411, 413, 415, 429, 503),
                requestBody=body(reference("Rating")),
                parameters=[request_id],
            )
        },
        "/push_interest/": {
            "post": operation(
                "Send the user's interest profile to Kafka",
                {"200": answer("Kafka has acknowledged it, or there is no history", reference("Pushed"))},
                *(400, 411, 413, 415, 429, 503),
                requestBody=body(reference("WhoseInterests")),
            )
        },
        "/send_kafka/": {
            "post": operation(
                "Send the user's interest profile to Kafka, and those of 30 to 60 users chosen at random",
                {"200": answer("Kafka has acknowledged all of them", reference("PushedSome"))},
                *(400, 411, 413, 415, 429, 503),
                requestBody=body(reference("WhoseInterests")),
            )
        },
        "/livez": {"get": operation("The process is alive", ok)},
        "/readyz": {"get": operation("The process can answer", ok, 503)},
        "/health": {"get": operation("State of each dependency", ok)},
        "/metrics": {"get": operation("Prometheus text", text)},
        **ops_paths(),
    }
    for name in config_names:
        schema = reference("Weights") if name == "weights" else FREE
        problems = (400, 401, 403, 411, 412, 413, 415, 429, 503)
        in_force = object_of(**{name: schema}, version=INTEGER)
        found = {"200": answer("the document in force; its version is the ETag", in_force)}
        told = {"acknowledged": INTEGER, "members": INTEGER, "took_ms": NUMBER}
        changed = {"200": answer("what is in force now", object_of(**in_force["properties"], **told))}
        put = operation(f"Put {name} in force", changed, *problems, requestBody=body(schema), parameters=[if_match])
        put["security"] = [{"bearer": []}, {"key": []}]
        got = {**found, "304": {"description": "If-None-Match names the version in force"}}
        paths[f"/api/config/{name}"] = {"get": operation(f"The {name} in force", got, 429), "put": put}
    security = {"bearer": {"type": "http", "scheme": "bearer"}, "key": _key_header()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Reweigh", "version": "1", "description": "Recommendations whose weights can change live."},
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": security},
    }


def _key_header() -> dict[str, str]:
    return {"type": "apiKey", "in": "header", "name": "X-API-Key"}


def docs_routes(config_names: list[str]) -> Blueprint:
    """``/openapi.json``, and ``/docs`` and ``/redoc``, which show it by scripts out of installed packages."""
    routes = Blueprint("docs", __name__)
    described = document(config_names)

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return json_response(described)

    @routes.get("/docs")
    def docs() -> Response:
        return Response(_PAGE, mimetype="text/html")

    @routes.get("/docs/static/<path:name>")
    def static(name: str) -> Response:
        return send_from_directory(_STATIC, name)

    @routes.get("/redoc")
    def redoc() -> Response:
        return Response(_REDOC_PAGE, mimetype="text/html")

    @routes.get("/redoc/static/<path:name>")
    def redoc_static(name: str) -> Response:
        return send_from_directory(_REDOC_STATIC, name)

    return routes
