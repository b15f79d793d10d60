"""Ratings over HTTP, on stand-ins, and as they are stored in a real Redis."""

from __future__ import annotations

import json

import pytest
import redis

from deploy.local.stack import Stack
from reccore import layout
from reccore.ratings import Rated, Rating, encode_rated
from recsvc.errors import StoreUnavailable
from recsvc.memory import MemoryUserStore
from recsvc.user_store import RedisUserStore, StoredUser, UserStore
from tests.rating_cases import RATING_CASES, RatingCase
from tests.recsvc.conftest import Bench

PROBLEM = "application/problem+json"
RATED = {"p1": "4.5;1700000000123", "p2": "3;1700000000124", "p3": "5;1600000000000"}


@pytest.mark.parametrize("case", RATING_CASES, ids=lambda case: case.name)
def test_the_service_judges_by_the_table(bench: Bench, case: RatingCase) -> None:
    """What the follower will store is taken as it came, keyed by user; the rest is refused by the same reason."""
    answer = bench.http.post("/send_rating", data=case.raw, content_type="application/json")
    if isinstance(case.expected, Rating):
        assert (answer.status_code, answer.json["position"]) == (202, "ratings:0:0")
        assert [(each.topic, each.key, each.value) for each in bench.kafka.messages] == [
            ("ratings", case.expected.user_id.encode(), case.raw)
        ]
    else:
        assert (answer.status_code, answer.content_type) == (400, PROBLEM)
        assert answer.json["reason"] == case.expected
        assert bench.kafka.messages == []


def test_a_rating_is_taken_once_kafka_has_it(bench: Bench) -> None:
    """503 with Retry-After while it has not; a slash at the end is no other address."""
    rating = {"userId": 7, "movieId": "p", "rating": 4}
    bench.kafka.up = False
    answer = bench.http.post("/send_rating", json=rating)
    assert (answer.status_code, answer.content_type, answer.headers["Retry-After"]) == (503, PROBLEM, "1")
    bench.kafka.up = True
    for path in ("/send_rating", "/send_rating/"):
        assert bench.http.post(path, json=rating).status_code == 202


def test_a_request_may_give_its_rating_an_id(bench: Bench) -> None:
    """By which the archive knows a repeat; the rating's own goes before it."""
    rating = {"user_id": "u", "product_id": "p", "rating": 4}
    headers = {"Idempotency-Key": "k-1"}
    assert bench.http.post("/send_rating", json=rating, headers=headers).status_code == 202
    assert bench.http.post("/send_rating", json={**rating, "event_id": "own"}, headers=headers).status_code == 202
    assert [json.loads(each.value)["event_id"] for each in bench.kafka.messages] == ["k-1", "own"]


def test_ratings_of_a_user(bench: Bench) -> None:
    """The newest first; an unknown user has none, and nobody while Redis is away."""
    bench.users.users["a/b"] = StoredUser({}, frozenset(), ratings=RATED)
    answer = bench.http.get("/users/a%2Fb/ratings?n=2")
    assert answer.json == {
        "user_id": "a/b",
        "degraded": False,
        "ratings": [
            {
                "product_id": "p2",
                "rating": 3,
                "timestamp": "2023-11-14T22:13:20.124Z",
                "timestamp_ms": 1_700_000_000_124,
            },
            {
                "product_id": "p1",
                "rating": 4.5,
                "timestamp": "2023-11-14T22:13:20.123Z",
                "timestamp_ms": 1_700_000_000_123,
            },
        ],
    }
    assert bench.http.get("/users/nobody/ratings").json["ratings"] == []
    bench.users.up = False
    answer = bench.http.get("/users/a%2Fb/ratings")
    assert (answer.status_code, answer.json["ratings"], answer.json["degraded"]) == (200, [], True)


@pytest.mark.parametrize("query", ["n=0", "n=1001", "n=x", "n=1&n=2"])
def test_wrong_numbers_are_named(bench: Bench, query: str) -> None:
    """By field, value and what is allowed."""
    answer = bench.http.get(f"/users/u/ratings?{query}")
    assert (answer.status_code, answer.content_type) == (400, PROBLEM)
    assert answer.json["errors"][0]["field"] == "n"


@pytest.mark.parametrize("kind", ["memory", "real"])
def test_ratings_are_read_alone_and_with_the_user(kind: str, stack: Stack, database: redis.Redis) -> None:
    """Fake and real alike; in one round trip with counts, purchases and arrivals, whichever are asked for."""
    user_id, counts = "a{b}/ü", {"shoes": "1,2,3;5"}
    stored = {f"p{number}": encode_rated(Rated(number, 4.5)) for number in range(3)}
    database.hset(layout.counts_key(user_id), mapping=counts)
    database.sadd(layout.purchased_key(user_id), "p1")
    database.hset(layout.ratings_key(user_id), mapping=stored)
    known = StoredUser(counts, frozenset({"p1"}), ratings=stored)
    real = RedisUserStore(stack.addresses.redis_url, timeout_ms=1_000)
    used: UserStore = real if kind == "real" else MemoryUserStore({user_id: known})
    for arrivals in (False, True):
        assert used.user(user_id, arrivals=arrivals, ratings=True) == known
    assert dict(used.ratings(user_id)) == stored
    assert dict(used.ratings("nobody")) == dict(used.user("nobody", ratings=True).ratings) == {}
    if isinstance(used, MemoryUserStore):
        used.up = False
        with pytest.raises(StoreUnavailable):
            used.ratings(user_id)
    real.stop()
