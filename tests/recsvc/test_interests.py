"""Interest profiles over HTTP, on stand-ins, and what is read of a real Redis for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import redis

from deploy.local.stack import Stack
from reccore import layout
from reccore.canary import CANARY
from reccore.interests import InterestProfile, Interests, parse_profile
from recsvc.errors import StoreUnavailable
from recsvc.interests import FEWEST_OTHERS, MOST_OTHERS, InterestProfiles
from recsvc.memory import MemoryUserStore
from recsvc.user_store import RedisUserStore, UserStore
from tests.recsvc.conftest import TYPES, Bench

PROBLEM = "application/problem+json"
BOTH = ("/push_interest/", "/push_interest", "/send_kafka/", "/send_kafka")


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """A user with four events, of products of the catalogue, of events alone, and of nobody's."""
    collected = bench.statistics.collected
    collected.put_catalog({"p1": {"tags": ["shoes", "red"]}, "p2": {"tags": ["red"]}, "p5": {"tags": []}}, ["p4"])
    collected.put_product("p1", [(9, 0, 0), 5, ["old"]])
    collected.put_product("p3", [(9, 0, 0), 5, ["learned"]])
    collected.put_product("p4", [(9, 0, 0), 5, ["gone"]])
    bench.statistics.publish()
    bench.users.events["ann"] = [
        ("2:0:9:p1", 1_700_000_000_005),
        ("0:0:8:p2", 1_700_000_000_004),
        ("1:0:7:p3", 1_700_000_000_003),
        ("0:0:6:p4", 1_700_000_000_002),
        ("0:0:5:x:y", 1_700_000_000_001),
    ]
    return bench


def post(bench: Bench, path: str, **body: object) -> Any:
    """POST; gives the JSON."""
    answer = bench.http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json


def sent(bench: Bench) -> list[dict[str, Any]]:
    """The profiles that Kafka has, which the follower takes."""
    profiles = []
    for message in bench.kafka.messages:
        profile = json.loads(message.value)
        assert message.topic == "user_behavior"
        assert parse_profile(message.value, record_time_ms=None).user_id == profile["user_id"] == message.key.decode()
        profiles.append(profile)
    return profiles


def test_a_profile_is_of_the_history_before_the_time(shop: Bench) -> None:
    """Its items with weights in force and tags as known: the catalogue's, else those learned, none of what is gone."""
    version = shop.http.get("/api/config/weights").json["version"]
    answer = post(shop, "/push_interest/", user_id="ann", timestamp=1_700_000_000_005)
    assert answer == {"status": "ok", "user_id": "ann", "history_items_count": 4}
    assert sent(shop) == [
        {
            "user_id": "ann",
            "timestamp": 1_700_000_000_005,
            "items": [
                {"item_id": "p2", "action": "view", "weight": 1, "timestamp": 1_700_000_000_004, "tags": ["red"]},
                {
                    "item_id": "p3",
                    "action": "add_to_cart",
                    "weight": 3,
                    "timestamp": 1_700_000_000_003,
                    "tags": ["learned"],
                },
                {"item_id": "p4", "action": "view", "weight": 1, "timestamp": 1_700_000_000_002, "tags": []},
                {"item_id": "x:y", "action": "view", "weight": 1, "timestamp": 1_700_000_000_001, "tags": []},
            ],
            "tags": {"red": 1, "learned": 3},
            "weights_version": version,
        }
    ]


def test_a_profile_follows_the_weights(shop: Bench) -> None:
    """At the next request; without a time it is of now."""
    done = shop.put_weights(view=0.5, add_to_cart=0, purchase=10).json
    assert post(shop, "/push_interest", user_id="ann", timestamp=None)["history_items_count"] == 5
    [profile] = sent(shop)
    assert profile["weights_version"] == done["version"]
    assert profile["tags"] == {"shoes": 10, "red": 10.5, "learned": 0}
    assert profile["timestamp"] > 1_700_000_000_005


@pytest.mark.parametrize("timestamp", [1_700_000_000_005, 1_700_000_000.005, "2023-11-14T22:13:20.005Z"])
def test_times_are_written_as_in_events(shop: Bench, timestamp: object) -> None:
    """Milliseconds, seconds, ISO 8601."""
    assert post(shop, "/push_interest/", user_id="ann", timestamp=timestamp)["history_items_count"] == 4


def test_at_most_fifty_items(bench: Bench) -> None:
    """The newest; integers are ids too."""
    bench.users.events["7"] = [(f"0:0:{n}:p{n}", 1_700_000_000_000 - n) for n in range(200)]
    assert post(bench, "/push_interest/", user_id=7)["history_items_count"] == 50
    assert [each["item_id"] for each in sent(bench)[0]["items"]] == [f"p{n}" for n in range(50)]


def test_who_has_no_history_sends_nothing(shop: Bench) -> None:
    """Unknown, or without an event before the time."""
    for body in ({"user_id": "nobody"}, {"user_id": "ann", "timestamp": 1_700_000_000_001}):
        answer = post(shop, "/push_interest/", **body)
        assert answer == {"status": "no_history", "user_id": body["user_id"], "history_items_count": 0}
    assert sent(shop) == []


def test_profiles_of_others_are_sent_besides(shop: Bench) -> None:
    """As many others as were drawn by lot, each once, none without a history before the time."""
    late = {f"late-{n}": [("0:0:1:p1", 1_800_000_000_000)] for n in range(40)}
    others = {f"user-{n}": [("0:0:1:p1", 1_600_000_000_000)] for n in range(100)}
    shop.users.events |= late | others
    answer = post(shop, "/send_kafka/", user_id="ann", timestamp=1_700_000_000_006)
    assert answer == {
        "status": "ok", "user_id": "ann", "history_items_count": 5, "others": FEWEST_OTHERS, "sent": FEWEST_OTHERS + 1
    }  # fmt: skip
    users = [each["user_id"] for each in sent(shop)]
    assert users[0] == "ann"
    assert len(users) == len(set(users)) == FEWEST_OTHERS + 1
    assert set(users[1:]) <= set(others)


def test_as_many_others_as_there_are(shop: Bench) -> None:
    """Also when the user has no history."""
    names = [CANARY, *(f"user-{n}" for n in range(5))]  # the canary is nobody
    shop.users.events |= {name: [("0:0:1:p1", 1_600_000_000_000)] for name in names}
    answer = post(shop, "/send_kafka", user_id="nobody")
    assert answer == {"status": "no_history", "user_id": "nobody", "history_items_count": 0, "others": 6, "sent": 6}


@pytest.mark.parametrize("drawn", [0, MOST_OTHERS - FEWEST_OTHERS])
def test_thirty_to_sixty(bench: Bench, drawn: int) -> None:
    """Both ends of the lot."""
    bench.users.events = {f"user-{n}": [("0:0:1:p1", 5)] for n in range(100)}
    asked = list[int]()

    def draw(most: int) -> int:
        asked.append(most)
        return drawn

    made = InterestProfiles(
        bench.users, bench.statistics, bench.weights, bench.kafka, "t", TYPES, draw=draw
    )  # fmt: skip
    assert made.push_some("user-0", 10)["others"] == FEWEST_OTHERS + drawn
    assert asked == [MOST_OTHERS - FEWEST_OTHERS + 1]


@pytest.mark.parametrize("path", BOTH)
def test_what_is_away_is_told(shop: Bench, path: str) -> None:
    """503 with Retry-After, whether Kafka or Redis."""
    shop.kafka.up = False
    answer = shop.http.post(path, json={"user_id": "ann"})
    assert (answer.status_code, answer.content_type, answer.headers["Retry-After"]) == (503, PROBLEM, "1")
    assert answer.json["sent"] == 0
    shop.users.up = False
    answer = shop.http.post(path, json={"user_id": "ann"})
    assert (answer.status_code, answer.content_type, answer.headers["Retry-After"]) == (503, PROBLEM, "1")


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": True}, "user_id"),
        ({"user_id": "u", "timestamp": "soon"}, "timestamp"),
        ({"user_id": "u", "timestamp": -1}, "timestamp"),
        ({"user_id": "u", "timestamp": [1]}, "timestamp"),
        ([], "body"),
    ],
)
def test_wrong_requests_are_named(bench: Bench, path: str, body: object, field: str) -> None:
    """By field, value and what is allowed."""
    answer = bench.http.post(path, json=body)
    assert (answer.status_code, answer.content_type) == (400, PROBLEM)
    error = answer.json["errors"][0]
    assert (error["field"], bool(error["allowed"])) == (field, True)


def test_the_vector_of_a_user(bench: Bench) -> None:
    """With its time and the number of events; an unknown user has none, and nobody while Redis is away."""
    found = Interests.of(InterestProfile("a/b", 1_700_000_000_123, 3, {"shoes": 3.0, "red": 4.0}, 7))
    bench.users.vectors["a/b"] = (dict(found.vector), found.about())
    assert bench.http.get("/interests/a%2Fb").json == {
        "user_id": "a/b",
        "degraded": False,
        "timestamp": "2023-11-14T22:13:20.123Z",
        "timestamp_ms": 1_700_000_000_123,
        "items": 3,
        "weights_version": 7,
        "interests": {"red": 0.8, "shoes": 0.6},
    }
    nobody = bench.http.get("/interests/nobody").json
    assert (nobody["interests"], nobody["timestamp"], nobody["items"]) == ({}, None, 0)
    bench.users.up = False
    answer = bench.http.get("/interests/a%2Fb")
    assert (answer.status_code, answer.json["interests"], answer.json["degraded"]) == (200, {}, True)


@pytest.mark.parametrize("kind", ["memory", "real"])
def test_what_is_read_of_a_store(kind: str, stack: Stack, database: redis.Redis) -> None:
    """Fake and real alike: histories before a time, vectors, and some users of those who have events."""
    events = {
        "a{b}/ü": [("0:0:3:p3", 1_700_000_000_003), ("0:0:2:p2", 1_700_000_000_002), ("0:0:1:p1", 1_700_000_000_001)],
        "bob": [("2:0:1:p:1", 1_600_000_000_000)],
    }
    for user_id, each in events.items():
        database.zadd(layout.recent_key(user_id), dict(each))
    interests = Interests.of(InterestProfile("bob", 5, 3, {"shoes": 3.0}, 7))
    vectors: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
        "bob": (dict(interests.vector), interests.about())
    }
    database.hset(layout.interests_key("bob"), mapping=dict(vectors["bob"][0]))
    database.hset(layout.about_interests_key("bob"), mapping=dict(vectors["bob"][1]))
    database.hset("catalog:products", "p", "{}")
    real = RedisUserStore(stack.addresses.redis_url, timeout_ms=1_000)
    used: UserStore = real if kind == "real" else MemoryUserStore(events=events, vectors=vectors)
    assert used.histories(["a{b}/ü", "nobody", "bob"], 1_700_000_000_003, 1) == [
        events["a{b}/ü"][1:2], [], events["bob"]
    ]  # fmt: skip
    assert used.histories(["bob"], 1_600_000_000_000, 50) == [[]]
    assert used.interests("bob") == vectors["bob"]
    assert used.interests("nobody") == ({}, {})
    assert set(used.some_users(200)) == set(events)
    if isinstance(used, MemoryUserStore):
        used.up = False
        with pytest.raises(StoreUnavailable):
            used.some_users(1)
    real.stop()


def test_an_empty_redis_has_nobody(stack: Stack, database: redis.Redis) -> None:
    """Nor is that an error."""
    store = RedisUserStore(stack.addresses.redis_url, timeout_ms=1_000)
    assert store.some_users(10) == []
    store.stop()
