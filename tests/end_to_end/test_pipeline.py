"""The promise as a whole, on the real cluster: events in, the whole of Redis compared with an independent recount."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import redis
from confluent_kafka import Consumer
from kazoo.client import KazooClient

from deploy.local import Stack
from reccore import layout
from tests.end_to_end.ledger import DEFAULT_WEIGHTS, Ledger, Traffic
from tests.event_cases import CASES

PATIENCE_SECONDS = 240
POISON: list[bytes | None] = [case.raw for case in CASES if isinstance(case.expected, str)]

pytestmark = pytest.mark.timeout(1_200)


@pytest.fixture(scope="module")
def traffic(whole: Stack) -> Traffic:
    """One stream of events for all tests of this module, in their order."""
    return Traffic(whole.env["KAFKA_BOOTSTRAP"], seed=20_240_229)


def wait_until(what: str, true: Callable[[], object]) -> None:
    """Wait until ``true`` gives something true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.1)


def totals(client: redis.Redis) -> dict[str, int]:
    """The totals that the job has written."""
    return {name: int(value) for name, value in client.hgetall(layout.TOTALS).items()}


def counted(client: redis.Redis, prefix: str) -> int:
    """The sum of the totals of one prefix."""
    return sum(count for name, count in totals(client).items() if name.startswith(prefix))


def wait_until_counted(client: redis.Redis, ledger: Ledger) -> None:
    """Wait until the job is at rest: all records read, all new events applied."""
    wait_until("all records read", lambda: counted(client, "read:") >= ledger.records)
    wait_until("all events applied", lambda: counted(client, "applied:") >= ledger.applied)


def stored_profiles(client: redis.Redis) -> dict[str, dict[str, float]]:
    """The whole of ``user:profile:*``."""
    keys = list(client.scan_iter(layout.PROFILE_PREFIX + "*", count=1_000))
    return {
        layout.user_of_profile_key(key): {tag: float(score) for tag, score in client.hgetall(key).items()}
        for key in keys
    }


def differences(found: dict[str, dict[str, float]], wanted: dict[str, dict[str, float]]) -> list[str]:
    """What differs between two sets of profiles, both ways."""
    return [
        f"{user} {tag}: {found.get(user, {}).get(tag)} instead of {wanted.get(user, {}).get(tag)}"
        for user in found.keys() | wanted.keys()
        for tag in found.get(user, {}).keys() | wanted.get(user, {}).keys()
        if found.get(user, {}).get(tag) != wanted.get(user, {}).get(tag)
    ]


def wait_for_profiles(client: redis.Redis, wanted: dict[str, dict[str, float]]) -> None:
    """Wait until Redis as a whole is what it must be."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while found := differences(stored_profiles(client), wanted):
        assert time.monotonic() < deadline, f"{len(found)} differences: {found[:5]}"
        time.sleep(0.5)


def answer(whole: Stack, path: str, body: object = None) -> Any:
    """GET, or PUT with a body; gives the JSON."""
    request = urllib.request.Request(
        whole.env["API_URL"] + path,
        method="GET" if body is None else "PUT",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-API-Key": whole.env["CONFIG_API_KEY"]},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def test_every_event_counts_once_through_a_killed_taskmanager(
    whole: Stack, traffic: Traffic, client: redis.Redis
) -> None:
    """Duplicates, disorder, poison and SIGKILL in the middle: at rest the whole of Redis equals the recount."""
    traffic.send(4_000)
    traffic.poison("view-events", POISON)
    wait_until("some events applied", lambda: counted(client, "applied:") > 1_000)
    traffic.send(4_000)
    whole.kill("taskmanager")
    traffic.send(4_000)
    ledger = traffic.ledger
    wait_until_counted(client, ledger)
    wait_for_profiles(client, ledger.profiles(DEFAULT_WEIGHTS))
    assert counted(client, "read:") == ledger.records
    assert counted(client, "applied:") == ledger.applied
    assert counted(client, "dead:") == len(ledger.poison)
    products = {product: json.loads(value)[0] for product, value in client.hgetall(layout.PRODUCT_STATISTICS).items()}
    assert products == {
        product: [kinds[kind] for kind in DEFAULT_WEIGHTS] for product, kinds in ledger.products.items()
    }
    for user, bought in ledger.purchases.items():
        assert client.smembers(layout.purchased_key(user)) == bought


def test_dead_letters_are_whole(whole: Stack, traffic: Traffic) -> None:
    """Each bad record is in the dead-letter topic, under its own key, with reason, place and exact bytes."""
    consumer = Consumer(
        {"bootstrap.servers": whole.env["KAFKA_BOOTSTRAP"], "group.id": "test", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["dead-letter-events"])
    letters: dict[bytes, dict[str, Any]] = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(letters) < len(traffic.ledger.poison) and time.monotonic() < deadline:
        for message in consumer.consume(500, timeout=1):
            letters[message.key()] = json.loads(message.value())
    consumer.close()
    for key, letter in letters.items():
        assert key.decode() == f"{letter['topic']}:{letter['partition']}:{letter['offset']}"
        assert letter["reason"]
        assert letter["detail"]
        assert letter["timestamp"] > 1_700_000_000_000
    found = sorted("" if letter["raw"] is None else letter["raw"] for letter in letters.values())
    assert found == sorted("" if raw is None else base64.b64encode(raw).decode() for _, raw in traffic.ledger.poison)


def test_recommendations_follow_the_profile(whole: Stack, traffic: Traffic) -> None:
    """The answer's tags are the recount's, best first; purchases are left out; a stranger gets popular ones."""
    ledger = traffic.ledger
    user = max(ledger.counts, key=lambda each: len(ledger.purchases[each]))
    found = answer(whole, f"/recommend/{user}?n=100")
    wanted = ledger.profiles(DEFAULT_WEIGHTS)[user]
    assert [(each["tag"], each["score"]) for each in found["tags"]] == sorted(
        wanted.items(), key=lambda item: (-item[1], item[0])
    )[:100]
    assert found["products"]
    assert not {each["product_id"] for each in found["products"]} & ledger.purchases[user]
    assert answer(whole, "/recommend/nobody")["source"] == "popular"


def test_weights_over_http_move_every_answer_at_once(whole: Stack, traffic: Traffic, client: redis.Redis) -> None:
    """The next answer of any user is exact for the new weights, and the stored scores of all users follow."""
    weights = {"view": 0, "add_to_cart": 0.5, "purchase": 7}
    version = answer(whole, "/api/config/weights", weights)["version"]
    wanted = traffic.ledger.profiles(weights)
    for user in list(wanted)[:50]:
        found = answer(whole, f"/recommend/{user}?n=100")
        assert found["weights_version"] == version
        assert {each["tag"]: each["score"] for each in found["tags"]} == dict(
            sorted(wanted[user].items(), key=lambda item: (-item[1], item[0]))[:100]
        )
    traffic.send(500)
    wait_until_counted(client, traffic.ledger)
    wait_for_profiles(client, traffic.ledger.profiles(weights))


def test_weights_from_any_zookeeper_client(whole: Stack, traffic: Traffic, client: redis.Redis) -> None:
    """A bare client sets nonsense, which changes nothing, and then a document, which takes effect everywhere."""
    before = answer(whole, "/api/config/weights")
    zookeeper = KazooClient(whole.env["ZOOKEEPER_HOSTS"])
    zookeeper.start(timeout=30)
    try:
        zookeeper.set("/config/recommendation/weights", b'{"view": -1, "add_to_cart": 3, "purchase": 5}')
        time.sleep(1)
        assert answer(whole, "/api/config/weights") == before
        stat = zookeeper.set("/config/recommendation/weights", b'{"view": 2, "cart": 4, "purchase": 6}')
    finally:
        zookeeper.stop()
        zookeeper.close()
    weights = {"view": 2, "add_to_cart": 4, "purchase": 6}
    wait_until("the document in force", lambda: answer(whole, "/api/config/weights")["version"] == stat.mzxid)
    assert answer(whole, "/api/config/weights")["weights"] == weights
    wait_for_profiles(client, traffic.ledger.profiles(weights))
