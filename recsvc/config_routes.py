"""`/api/config/<name>`: the configuration in force, and how it is changed."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from flask import Blueprint, Response, request
from werkzeug.http import quote_etag

from reccore.weights import LARGEST_DOCUMENT
from recsvc.admission import ConfigAdmission
from recsvc.errors import Problem
from recsvc.problems import json_response, read_body
from recsvc.services import Configuration

_VERSION = re.compile(r"0|[1-9][0-9]{0,18}")


def config_routes(configurations: Mapping[str, Configuration], admission: ConfigAdmission) -> Blueprint:
    """The routes for the documents of the allow-list."""
    routes = Blueprint("config", __name__)

    @routes.get("/api/config/<anytext:name>")
    def read(name: str) -> Response:
        in_force = _named(configurations, name).watcher.in_force
        headers = {"ETag": quote_etag(str(in_force.version))}
        if request.if_none_match.contains_weak(str(in_force.version)):
            return Response(status=304, headers=headers)
        return json_response({name: in_force.document.as_dict(), "version": in_force.version}, headers=headers)

    @routes.put("/api/config/<anytext:name>")
    def change(name: str) -> Response:
        began = time.monotonic()
        configuration = _named(configurations, name)
        by = admission.admit()
        document = configuration.watcher.kind.parse(read_body(LARGEST_DOCUMENT))
        done = configuration.publisher.put(document, _expected(), by=by)
        body = {
            name: done.document.as_dict(),
            "version": done.version,
            "acknowledged": done.acknowledged,
            "members": done.members,
            "took_ms": round((time.monotonic() - began) * 1000, 1),
        }
        return json_response(body, headers={"ETag": quote_etag(str(done.version))})

    return routes


def _named(configurations: Mapping[str, Configuration], name: str) -> Configuration:
    if name not in configurations:
        raise Problem(404, f"there is no such configuration; there are {', '.join(sorted(configurations))}")
    return configurations[name]


def _expected() -> frozenset[int] | None:
    """Versions that a change may replace, None for any. A weak or foreign tag matches nothing (RFC 9110, 13.1.1)."""
    tags = request.if_match
    if "If-Match" not in request.headers or tags.star_tag:
        return None
    return frozenset(int(tag) for tag in tags.as_set() if _VERSION.fullmatch(tag))
