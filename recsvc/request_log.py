"""Each request has an id, which is in its answer and in every line that is logged for it, and a line of its own.

That line names the route, never the path or the query: they hold ids of users.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
import uuid
from typing import Final

from flask import Flask, Response, g, request

from recsvc.log_lines import request_id

log = logging.getLogger(__name__)

HEADER: Final = "X-Request-Id"
_SANE: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
# Whoever watches asks every second or two.
_ASKED_OFTEN: Final = ("health", "ops")


def new_request_id() -> str:
    """Give an id that nobody else has."""
    return uuid.uuid4().hex


def log_requests(app: Flask) -> None:
    """Have every request numbered and logged; call it before anything else is done with requests of ``app``."""
    app.before_request(_begin)
    app.after_request(_answered)
    app.teardown_request(_end)


def _begin() -> None:
    given = request.headers.get(HEADER, "")
    g.began = time.perf_counter()
    g.request_id_before = request_id.set(given if _SANE.fullmatch(given) else new_request_id())


def _answered(response: Response) -> Response:
    response.headers[HEADER] = request_id.get()
    level = _level(response.status_code)
    if log.isEnabledFor(level):
        line = {
            "method": request.method if request.url_rule else "-",
            "route": request.url_rule.rule if request.url_rule else "-",
            "status": response.status_code,
            "ms": round((time.perf_counter() - g.began) * 1000, 1),
        }
        log.log(level, "request", extra=line)
    return response


def _end(_: BaseException | None) -> None:
    if (before := g.pop("request_id_before", None)) is not None:
        request_id.reset(before)


def _level(status: int) -> int:
    if status >= 500:
        return logging.ERROR if status == 500 else logging.WARNING
    return logging.DEBUG if request.blueprint in _ASKED_OFTEN else logging.INFO


def without_values(exc: BaseException) -> str:
    """Give an exception's traceback without its message, which may quote what a caller has sent."""
    cause = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    before = "" if cause is None else f"{without_values(cause)}\n\nled to:\n\n"
    return f"{before}{''.join(traceback.format_tb(exc.__traceback__))}{type(exc).__module__}.{type(exc).__qualname__}"
