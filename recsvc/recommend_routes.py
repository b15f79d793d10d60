"""`/recommend`, `/recommend/session`, `/recommendations` and `/similar`."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

from flask import Blueprint, Response, request

from recsvc.detailed import Detailed
from recsvc.guests import MOST_SESSION_EVENTS, Guests
from recsvc.ingest import Placed
from recsvc.own_writes import MOST_WAIT_MS, WAIT_MS, OwnWrites
from recsvc.problems import invalid, json_response, read_body
from recsvc.product_routes import wanted_products
from recsvc.recommender import Recommender
from recsvc.user_routes import answer, identifier, parse_object, whole_number
from recsvc.wanted import USUAL, Wish

LARGEST_N: Final = 100
MOST_EXCLUDED: Final = 500
LARGEST_SESSION: Final = 262_144


def recommend_routes(
    recommender: Recommender, own_writes: OwnWrites, guests: Guests, detailed: Detailed, topics: Collection[str]
) -> Blueprint:
    """The routes that recommend. ``topics`` are those that events may have come on."""
    routes = Blueprint("recommend", __name__)

    @routes.get("/recommend/<anytext:user_id>")
    def recommend(user_id: str) -> Response:
        user_id, wish, after = identifier(user_id, "user_id"), _wish(), request.args.get("after")
        wait_ms = whole_number("wait_ms", 0, MOST_WAIT_MS)
        if after is None:
            return answer(recommender.recommend(user_id, wish))
        place = _place(after, topics)
        awaited = own_writes.wait(user_id, place, WAIT_MS if wait_ms is None else wait_ms)
        return answer({**recommender.recommend(user_id, wish, awaited.user), "after": awaited.as_dict(place)})

    @routes.post("/recommend/session")
    def session() -> Response:
        events = parse_object(read_body(LARGEST_SESSION)).get("events")
        if not isinstance(events, list) or not 1 <= len(events) <= MOST_SESSION_EVENTS:
            raise invalid("events", events, f"an array of 1 to {MOST_SESSION_EVENTS} events")
        return answer(recommender.guest(guests.user_of(events, int(time.time() * 1000)), _wish()))

    @routes.get("/recommendations/<int:user_id>")
    def recommendations(user_id: int) -> Response:
        return json_response(detailed.recommendations(identifier(user_id, "user_id"), _wish()))

    @routes.get("/similar/<anytext:product_id>")
    def similar(product_id: str) -> Response:
        return answer(recommender.similar(identifier(product_id, "product_id"), _wish()))

    return routes


def _wish() -> Wish:
    """Read what the query asks for. Raises ``Problem``."""
    if not request.query_string:  # as nearly always
        return USUAL
    return Wish(
        n=whole_number("n", 1, LARGEST_N),
        exclude=_excluded(),
        wanted=wanted_products(),
        include_bought=_truth("include_bought"),
        exclude_seen=_truth("exclude_seen"),
        explain=_truth("explain"),
    )


def _excluded() -> frozenset[str]:
    given = [each for text in request.args.getlist("exclude") for each in text.split(",") if each]
    if len(given) > MOST_EXCLUDED:
        raise invalid("exclude", f"{len(given)} ids", f"at most {MOST_EXCLUDED} product ids")
    return frozenset(identifier(each, "exclude") for each in given)


def _truth(name: str) -> bool:
    given = request.args.getlist(name)
    words = {"true": True, "1": True, "false": False, "0": False}
    if not given:
        return False
    if len(given) > 1 or given[0].lower() not in words:
        raise invalid(name, ",".join(given), "true or false, given once")
    return words[given[0].lower()]


def _place(text: str, topics: Collection[str]) -> Placed:
    try:
        place = Placed.parse(text)
    except ValueError:
        place = None
    if place is None or place.topic not in topics:
        raise invalid("after", text, "a position as an accepted event is answered with, topic:partition:offset")
    return place
