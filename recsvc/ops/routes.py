"""`/ops`, and what its script asks for."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Final

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry

from recsvc.admission import ConfigAdmission
from recsvc.errors import Problem
from recsvc.ops.look import Looks
from recsvc.ops.parts import DEAD_LETTERS, PARTS
from recsvc.ops.traffic import read_traffic
from recsvc.problems import json_response

_STATIC: Final = Path(__file__).parent / "static"
_NOT_KEPT: Final = {"Cache-Control": "no-store"}
_NOT_STALE: Final = {"Cache-Control": "no-cache"}
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# Nothing from elsewhere, nothing inline: what a dead letter holds can be shown, and can't do anything.
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    **_NOT_STALE,
}


def ops_routes(looks: Looks, admission: ConfigAdmission, http: CollectorRegistry, *, multiprocess: bool) -> Blueprint:
    """The page, its data, and for who has the key the newest dead letters, which hold what callers have sent."""
    routes = Blueprint("ops", __name__)
    looks.add("requests", partial(read_traffic, http, multiprocess=multiprocess))
    page = (_STATIC / "ops.html").read_bytes()
    files = {file.name: file.read_bytes() for file in _STATIC.iterdir() if file.suffix in _TYPES}

    @routes.get("/ops")
    def show() -> Response:
        return Response(page, headers=_PAGE_HEADERS, content_type="text/html; charset=utf-8")

    @routes.get("/ops/static/<name>")
    def static(name: str) -> Response:
        if name not in files:
            raise Problem(404, f"there is no such file; there are {', '.join(sorted(files))}")
        return Response(files[name], headers=_NOT_STALE, content_type=_TYPES[Path(name).suffix])

    @routes.get("/ops/data")
    def data() -> Response:
        return json_response({"now_ms": int(time.time() * 1000), **looks.take(*PARTS)}, headers=_NOT_KEPT)

    @routes.get("/ops/dead-letters")
    def dead_letters() -> Response:
        admission.admit()
        return json_response(looks.take(DEAD_LETTERS)[DEAD_LETTERS], headers=_NOT_KEPT)

    return routes
