"""Answers other than success: RFC 9457 problem details, whatever went wrong and wherever."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, Final

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from reccore.errors import RejectedEvent, WeightsError
from recsvc.errors import FieldError, IngestUnavailable, Problem, ServiceError, StoreUnavailable
from recsvc.log_lines import request_id
from recsvc.request_log import without_values
from zkconfig.errors import ConfigUnavailable, VersionMismatch

log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
_DRAINED_AT_MOST = 16 * 1024 * 1024


def json_response(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Give ``body`` as a JSON answer."""
    return Response(orjson.dumps(body), status=status, headers=headers, mimetype="application/json")


def problem_bytes(status: int, detail: str, **members: object) -> bytes:
    """Give the JSON text of a problem; usable without a request."""
    title = HTTPStatus(status).phrase if status in _KNOWN else "Error"
    return orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, **members})


_KNOWN = {each.value for each in HTTPStatus}


def problem_response(problem: Problem) -> Response:
    """Give a problem as an answer."""
    members: dict[str, Any] = dict(problem.members)
    if problem.errors:
        members["errors"] = [each.as_dict() for each in problem.errors]
    if name := request_id.get():
        members["request_id"] = name
    body = problem_bytes(problem.status, problem.detail, **members)
    return Response(body, status=problem.status, headers=problem.headers, content_type=PROBLEM_TYPE)


def invalid(field: str, value: object, allowed: str) -> Problem:
    """Give the 400 for one wrong member."""
    error = FieldError(field, value, allowed)
    return Problem(400, f"{field} is not valid: {allowed}", (error,))


def register_problem_handlers(app: Flask) -> None:
    """Have every error of ``app`` answered as a problem."""
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(WeightsError, _weights_error)
    app.register_error_handler(RejectedEvent, _rejected_event)
    app.register_error_handler(VersionMismatch, _version_mismatch)
    app.register_error_handler(ConfigUnavailable, _config_unavailable)
    app.register_error_handler(IngestUnavailable, _ingest_unavailable)
    app.register_error_handler(StoreUnavailable, _ingest_unavailable)
    app.register_error_handler(Exception, _bug)


# Many clients call whatever they send a form unless they are told otherwise.
_TAKEN_AS_JSON: Final = ("", "application/json", "application/x-www-form-urlencoded")


def read_body(limit: int) -> bytes:
    """Give the whole JSON body of the request, at most ``limit`` bytes.

    Raises ``Problem``: 411 without a length (a chunked body may arrive cut), 413 when it is too large, 415 when it is
    not said to be JSON, 400 when it ends early.
    """
    length = request.content_length
    if length is None or "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        raise Problem(411, "Content-Length is required")
    if length > limit:
        _drain(length)
        raise Problem(413, f"the body has {length} bytes, at most {limit} are allowed")
    if request.mimetype not in _TAKEN_AS_JSON and not request.mimetype.endswith("+json"):
        raise Problem(415, f"Content-Type {request.mimetype} is not allowed, application/json is")
    body = request.get_data(cache=False)
    if len(body) != length:
        raise Problem(400, f"the body ends after {len(body)} of {length} bytes")
    return body


def _drain(length: int) -> None:
    # A client that is still sending when the connection closes sees a reset instead of the answer.
    left = min(length, _DRAINED_AT_MOST)
    while left > 0 and (part := request.environ["wsgi.input"].read(min(left, 65_536))):
        left -= len(part)


def _http_exception(exc: HTTPException) -> Response:
    headers = {name: value for name, value in exc.get_headers() if name.lower() in ("allow", "retry-after")}
    status = exc.code or 500
    return problem_response(Problem(status, exc.description or HTTPStatus(status).phrase, headers=headers))


def _weights_error(exc: WeightsError) -> Response:
    return problem_response(Problem(400, str(exc), (FieldError(exc.field, exc.value, exc.allowed),)))


def _rejected_event(exc: RejectedEvent) -> Response:
    errors = () if exc.wrong is None else (FieldError(*exc.wrong),)
    return problem_response(Problem(400, str(exc), errors, members={"reason": exc.reason}))


def _version_mismatch(exc: VersionMismatch) -> Response:
    headers = {"ETag": f'"{exc.current}"'}
    return problem_response(Problem(412, str(exc), headers=headers, members={"version": exc.current}))


def _config_unavailable(exc: ConfigUnavailable) -> Response:
    return problem_response(Problem(503, str(exc), headers={"Retry-After": "1"}))


def _ingest_unavailable(exc: Exception) -> Response:
    return problem_response(Problem(503, str(exc), headers={"Retry-After": "1"}))


def _bug(exc: Exception) -> Response:
    route = request.url_rule.rule if request.url_rule else "-"
    what = f"{type(exc).__name__}: {exc}" if isinstance(exc, ServiceError) else type(exc).__name__
    log.error("%s %s failed: %s", request.method, route, what, extra={"exception": without_values(exc)})
    log.debug("%s failed", request.path, exc_info=exc)
    return problem_response(Problem(500, "the service failed; its log says why"))
