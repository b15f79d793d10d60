"""The Flask application, put together from clients that are passed in."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from flask import Flask, Request, Response, request
from flask.sessions import SessionInterface
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import NO_PREFIX, PrometheusMetrics
from werkzeug.middleware.proxy_fix import ProxyFix

from recsvc.admission import ApiKeys, ConfigAdmission, limit_requests
from recsvc.config_routes import config_routes
from recsvc.health_routes import health_routes
from recsvc.ingest_routes import LARGEST_BATCH, ingest_routes
from recsvc.interest_routes import interest_routes
from recsvc.openapi import docs_routes
from recsvc.ops.routes import ops_routes
from recsvc.problems import register_problem_handlers
from recsvc.product_routes import product_routes
from recsvc.recommend_routes import recommend_routes
from recsvc.request_log import log_requests
from recsvc.request_text import refuse_what_is_no_text
from recsvc.services import Services
from recsvc.settings import Settings
from recsvc.user_routes import AnyText, user_routes

_BUCKETS = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.1, 0.2, 0.5, 1.0, 2.5)
"""Seconds; with an edge on each objective for a request's duration (docs/monitoring.md)."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _NoSessions(SessionInterface):
    """There are no cookies here, so no request spends time on them."""

    def open_session(self, app: Flask, request: object) -> None:  # noqa: ARG002
        return None

    def is_null_session(self, obj: object) -> bool:  # noqa: ARG002
        return True

    def save_session(self, *_: object) -> None:
        return None


def route(given: Request) -> str:
    """Name the route of a request, which is a label's value; there are as many as there are routes, and one more.

    A recommendation that is to wait for an event is told apart: how long it takes says nothing of the service.
    """
    rule = str(given.url_rule)
    return f"{rule}?after" if rule.startswith("/recommend/") and "after" in given.args else rule


def _leave_out_made_up_methods() -> None:
    """Measure no request of a method that HTTP doesn't know, or callers could make up values of a label."""
    if request.method not in _METHODS:
        request.prom_exclude_all = True  # type: ignore[attr-defined]  # the exporter looks for it


def _take_types_as_given(response: Response) -> Response:
    """Keep browsers from taking stored text, a tag or a product's name, for a page."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


class _Service(Flask):
    """Flask without what nothing here needs and every request would pay for."""

    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Give the function as it is: none here is a coroutine, and Flask would look at ten of them a request."""
        return func


def create_app(settings: Settings, services: Services) -> Flask:
    """Build the application. ``services`` are started by who runs it, after any fork."""
    app = _Service("recsvc", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BATCH + 1
    app.url_map.converters["anytext"] = AnyText
    # An id may begin with or hold "//": nothing is redirected to what would be another id.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    log_requests(app)
    multiprocess = "PROMETHEUS_MULTIPROC_DIR" in os.environ
    registry = CollectorRegistry()
    app.before_request(_leave_out_made_up_methods)
    PrometheusMetrics(
        app,
        path=None,
        group_by=route,
        defaults_prefix=NO_PREFIX,
        buckets=_BUCKETS,
        registry=registry,
        excluded_paths=["^/(docs|redoc|ops)/static/"],
    )
    app.register_blueprint(
        user_routes(services.recommender, services.recent_events, services.ratings, services.features)
    )
    app.register_blueprint(
        recommend_routes(
            services.recommender,
            services.own_writes,
            services.guests,
            services.detailed,
            services.recent_events.topics,
        )
    )
    app.register_blueprint(interest_routes(services.interests))
    app.register_blueprint(product_routes(services.catalogue))
    admission = ConfigAdmission(ApiKeys(settings.config_api_keys), settings.config_limit)
    app.register_blueprint(config_routes(services.configurations, admission))
    app.register_blueprint(ingest_routes(services.ingest, services.ratings))
    app.register_blueprint(health_routes(services, registry, multiprocess=multiprocess))
    app.register_blueprint(docs_routes(sorted(services.configurations)))
    app.register_blueprint(ops_routes(services.ops, admission, registry, multiprocess=multiprocess))
    limit_requests(app, settings)
    refuse_what_is_no_text(app)
    app.after_request(_take_types_as_given)
    register_problem_handlers(app)
    if settings.trusted_proxies:
        # Whoever sends X-Forwarded-For past no proxy of ours could be any address that it likes.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0)  # type: ignore[method-assign]
    return app
