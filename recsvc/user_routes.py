"""`/profile`, `/profiles`, `/features`, and what one user did: `/users/<id>/…`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request
from pydantic_core import from_json
from werkzeug.routing import BaseConverter

from reccore.events import LONGEST_ID
from reccore.ratings import MOST_RATINGS
from recsvc import metrics
from recsvc.features import UserFeatures
from recsvc.problems import invalid, json_response, read_body
from recsvc.ratings import Ratings
from recsvc.recent_events import MOST_EVENTS, RecentEvents
from recsvc.recommender import Recommender

MOST_USERS = 500
LARGEST_BODY = 1_048_576


class AnyText(BaseConverter):
    """A path's whole rest, slashes included: a user id may hold any character."""

    regex = ".+"
    part_isolating = False
    weight = 200


def user_routes(recommender: Recommender, events: RecentEvents, ratings: Ratings, features: UserFeatures) -> Blueprint:
    """The routes that answer about users."""
    routes = Blueprint("users", __name__)

    @routes.get("/users/<anytext:user_id>/events")
    def recent_events(user_id: str) -> Response:
        return answer(events.answer(identifier(user_id, "user_id"), whole_number("n", 1, MOST_EVENTS)))

    @routes.get("/features/<anytext:user_id>")
    def user_features(user_id: str) -> Response:
        return answer(features.answer(identifier(user_id, "user_id")))

    @routes.get("/users/<anytext:user_id>/ratings")
    def of_user(user_id: str) -> Response:
        return answer(ratings.answer(identifier(user_id, "user_id"), whole_number("n", 1, MOST_RATINGS)))

    @routes.get("/profile/<anytext:user_id>")
    def profile(user_id: str) -> Response:
        return answer(recommender.profile(identifier(user_id, "user_id")))

    @routes.post("/profiles")
    def profiles() -> Response:
        return answer(recommender.profiles(_user_ids(read_body(LARGEST_BODY))))

    return routes


def answer(body: dict[str, Any]) -> Response:
    """Give an answer, and count it where it is degraded."""
    metrics.count_degraded(body)
    return json_response(body)


def whole_number(name: str, least: int, most: int) -> int | None:
    """Read a number of the query, None where it is not given. Raises ``Problem``."""
    given = request.args.getlist(name)
    if not given:
        return None
    text = given[0]
    if len(given) > 1 or not (text.isascii() and text.isdigit() and len(text) <= 4 and least <= int(text) <= most):
        raise invalid(name, ",".join(given), f"an integer from {least} to {most}, given once")
    return int(text)


def identifier(value: object, name: str) -> str:
    """Read an id as a path or a body gives it. Raises ``Problem``."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 4 * LONGEST_ID:
        value = str(value)
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_ID:
        raise invalid(name, value, f"text of 1 to {LONGEST_ID} characters")
    return value


def _user_ids(body: bytes) -> list[str]:
    given = parse_object(body).get("user_ids")
    if not isinstance(given, list) or len(given) > MOST_USERS:
        raise invalid("user_ids", given, f"an array of at most {MOST_USERS} user ids")
    return [identifier(each, f"user_ids[{position}]") for position, each in enumerate(given)]


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object; deep nesting is an error like any other here. Raises ``Problem``."""
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as exc:
        raise invalid("body", body[:40].decode("utf-8", "replace"), f"a JSON object ({exc})") from exc
    if not isinstance(value, dict):
        raise invalid("body", value, "a JSON object")
    return value
