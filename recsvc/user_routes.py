"""`/recommend`, `/profile` and `/profiles`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request
from pydantic_core import from_json
from werkzeug.routing import BaseConverter

from reccore.events import LONGEST_ID
from recsvc import metrics
from recsvc.problems import invalid, json_response, read_body
from recsvc.recommender import Recommender

MOST_USERS = 500
LARGEST_BODY = 1_048_576
_LARGEST_N = 100


class AnyText(BaseConverter):
    """A path's whole rest, slashes included: a user id may hold any character."""

    regex = ".+"
    part_isolating = False
    weight = 200


def user_routes(recommender: Recommender) -> Blueprint:
    """The routes that answer about users."""
    routes = Blueprint("users", __name__)

    @routes.get("/recommend/<anytext:user_id>")
    def recommend(user_id: str) -> Response:
        return _answer(recommender.recommend(_user_id(user_id, "user_id"), _n()))

    @routes.get("/profile/<anytext:user_id>")
    def profile(user_id: str) -> Response:
        return _answer(recommender.profile(_user_id(user_id, "user_id")))

    @routes.post("/profiles")
    def profiles() -> Response:
        return _answer(recommender.profiles(_user_ids(read_body(LARGEST_BODY))))

    return routes


def _answer(body: dict[str, Any]) -> Response:
    if body["degraded"]:
        metrics.degraded_answers.inc()
    return json_response(body)


def _n() -> int | None:
    given = request.args.getlist("n")
    if not given:
        return None
    text = given[0]
    if len(given) > 1 or not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= _LARGEST_N):
        raise invalid("n", ",".join(given), f"an integer from 1 to {_LARGEST_N}, given once")
    return int(text)


def _user_id(value: object, name: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 4 * LONGEST_ID:
        value = str(value)
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_ID:
        raise invalid(name, value, f"text of 1 to {LONGEST_ID} characters")
    return value


def _user_ids(body: bytes) -> list[str]:
    given = parse_object(body).get("user_ids")
    if not isinstance(given, list) or len(given) > MOST_USERS:
        raise invalid("user_ids", given, f"an array of at most {MOST_USERS} user ids")
    return [_user_id(each, f"user_ids[{position}]") for position, each in enumerate(given)]


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object; deep nesting is an error like any other here. Raises ``Problem``."""
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as exc:
        raise invalid("body", body[:40].decode("utf-8", "replace"), f"a JSON object ({exc})") from exc
    if not isinstance(value, dict):
        raise invalid("body", value, "a JSON object")
    return value
