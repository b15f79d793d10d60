"""From a request to its effect: the service on real servers, and the follower behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from deploy.local import Stack
from reccore import layout
from reccore.event_types import EventTypes
from recsvc.app import create_app
from recsvc.services import build_services
from recsvc.settings import Settings
from tests.waiting import wait_until
from zkconfig.memory import MemoryCoordination, MemoryServer

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def http(stack: Stack, client: redis.Redis) -> Iterator[Any]:
    """A client of the service, of which weights alone are a stand-in; fifty users have events."""
    client.hset(layout.CATALOG, mapping={"lamp": '{"tags": ["light"]}', "rug": '{"tags": ["soft", "light"]}'})
    client.incr(layout.CATALOG_VERSION)
    for number in range(50):
        events = {"2:0:1:lamp": 1_600_000_000_001, "0:0:2:rug": 1_600_000_000_000 + 2 * (number % 2)}
        client.zadd(layout.recent_key(f"user-{number}"), events)
    settings = Settings(
        event_types=EventTypes.from_settings({}),
        redis_url=stack.env["REDIS_URL"],
        kafka_bootstrap=stack.env["KAFKA_BOOTSTRAP"],
        ingest_timeout_ms=10_000,
    )
    services = build_services(settings, coordination=MemoryCoordination(MemoryServer()))
    services.start()
    wait_until(lambda: services.weights.connected and services.statistics_loaded())
    try:
        yield create_app(settings, services).test_client()
    finally:
        services.stop()
        client.delete(layout.CATALOG, *(layout.recent_key(f"user-{number}") for number in range(50)))


def test_a_rating_comes_back(http: Any) -> None:
    """From its request, by way of the topic, to the user's ratings; a later one takes its place."""
    for rating, timestamp in ((4.5, 1_600_000_000), (2, 1_600_000_001), (5, 1_500_000_000)):
        body = {"userId": "rater", "movieId": 12, "rating": rating, "timestamp": timestamp}
        assert http.post("/send_rating", json=body).status_code == 202
    newest = {
        "product_id": "12",
        "rating": 2,
        "timestamp": "2020-09-13T12:26:41.000Z",
        "timestamp_ms": 1_600_000_001_000,
    }
    wait_until(
        lambda: http.get("/users/rater/ratings").json == {"user_id": "rater", "degraded": False, "ratings": [newest]},
        30,
    )


def test_history_becomes_interests(http: Any) -> None:
    """Of the events before the time, under the weights in force."""
    answer = http.post("/push_interest/", json={"user_id": "user-0", "timestamp": 1_600_000_000_001})
    assert answer.json == {"status": "ok", "user_id": "user-0", "history_items_count": 1}
    wait_until(lambda: http.get("/interests/user-0").json["items"] == 1, 30)
    assert http.get("/interests/user-0").json["interests"] == pytest.approx(
        dict.fromkeys(["light", "soft"], math.sqrt(0.5))
    )
    assert http.post("/push_interest/", json={"user_id": "user-0"}).json["history_items_count"] == 2
    wait_until(lambda: http.get("/interests/user-0").json["items"] == 2, 30)
    found = http.get("/interests/user-0").json["interests"]
    assert found == pytest.approx({"light": 6 / math.hypot(6, 1), "soft": 1 / math.hypot(6, 1)})


def test_others_become_interests_too(http: Any, client: redis.Redis) -> None:
    """Thirty of fifty at least, each once; so many have interests afterwards."""
    client.delete(*[layout.about_interests_key(f"user-{number}") for number in range(50)])
    answer = http.post("/send_kafka/", json={"user_id": "user-7"}).json
    assert (answer["status"], answer["history_items_count"]) == ("ok", 2)
    assert 30 <= answer["others"] <= 49
    assert answer["sent"] == answer["others"] + 1

    def with_interests() -> int:
        return sum(http.get(f"/interests/user-{number}").json["items"] == 2 for number in range(50))

    wait_until(lambda: with_interests() == answer["sent"], 30)
