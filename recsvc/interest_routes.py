"""`/push_interest/`, `/send_kafka/` and `/interests/<id>`."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response

from reccore.timestamps import parse_timestamp
from recsvc.ingest_routes import now_ms
from recsvc.interests import InterestProfiles
from recsvc.problems import invalid, json_response, read_body
from recsvc.user_routes import answer, identifier, parse_object

LARGEST_REQUEST: Final = 65_536


def interest_routes(interests: InterestProfiles) -> Blueprint:
    """The routes that send profiles of interests, and the one that gives what became of them."""
    routes = Blueprint("interests", __name__)

    @routes.post("/push_interest/")
    def push_interest() -> Response:
        return json_response(interests.push(*_user_and_time()))

    @routes.post("/send_kafka/")
    def send_kafka() -> Response:
        return json_response(interests.push_some(*_user_and_time()))

    @routes.get("/interests/<anytext:user_id>")
    def of_user(user_id: str) -> Response:
        return answer(interests.answer(identifier(user_id, "user_id")))

    return routes


def _user_and_time() -> tuple[str, int]:
    """Read the body: whose history, and before which time (epoch ms). Raises ``Problem``."""
    given = parse_object(read_body(LARGEST_REQUEST))
    user_id, timestamp = identifier(given.get("user_id"), "user_id"), given.get("timestamp")
    if timestamp is None:
        return user_id, now_ms()
    try:
        return user_id, parse_timestamp(timestamp)
    except ValueError as exc:
        allowed = "epoch milliseconds, epoch seconds or ISO 8601 from 1970 to 9999"
        raise invalid("timestamp", timestamp, f"{allowed} ({exc})") from exc
