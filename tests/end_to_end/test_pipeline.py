"""The promise as a whole, on the real cluster: events in, the whole of Redis compared with an independent recount."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest
import redis
from kazoo.client import KazooClient

from deploy.local import Stack
from faults.at_rest import (
    answer,
    compare_at_rest,
    put_weights,
)
from faults.letters import compare_letters
from faults.patience import wait_until
from faults.traffic import Traffic

pytestmark = pytest.mark.timeout(1_200)


def test_every_event_counts_once(whole: Stack, traffic: Traffic, client: redis.Redis) -> None:
    """Duplicates, disorder and poison: at rest the whole of Redis equals the recount.

    What came before in ``test_fault_rows`` counts too: there the TaskManager was killed in the middle of such events.
    """
    traffic.send(12_000)
    traffic.poison()
    compare_at_rest(whole, client, traffic.ledger)


def test_dead_letters_are_whole(whole: Stack, traffic: Traffic) -> None:
    """Each bad record is in the dead-letter topic, under its own key, with reason, place and exact bytes."""
    compare_letters(whole, traffic.ledger)


def test_recommendations_follow_the_profile(whole: Stack, traffic: Traffic) -> None:
    """The answer's tags are the recount's, best first; purchases are left out; a stranger gets popular ones."""
    ledger = traffic.ledger
    user = max(ledger.users, key=lambda each: len(ledger.purchases[each]))
    found = answer(whole, f"/recommend/{user}?n=100")
    wanted = ledger.scores(user)
    assert [(each["tag"], each["score"]) for each in found["tags"]] == sorted(
        wanted.items(), key=lambda item: (-item[1], item[0])
    )[:100]
    assert found["products"]
    assert not {each["product_id"] for each in found["products"]} & ledger.purchases[user]
    assert answer(whole, "/recommend/nobody")["source"] == "popular"


def test_who_sends_an_event_reads_it(whole: Stack, traffic: Traffic) -> None:
    """An answer that says that it holds the event is exact with it. A repeat is told as one.

    So is an event whose tag is beyond the user's cap, by a checkpoint.
    """
    ledger = traffic.ledger
    users = [f"new-{number}" for number in range(5)]
    for number, user in enumerate(8 * users):
        kind = ("view", "add_to_cart", "purchase", "wishlist")[number % 4]
        event = {
            "event_id": f"own-{number}",
            "user_id": user,
            "product_id": f"own-product-{number}",
            "event_type": kind,
            "timestamp": 1_800_000_000_000 + number,
            "tags": [f"own-{number % 3}", "own"],
        }
        position = _sent(whole, event)
        ledger.book(event, kind)
        found = answer(whole, f"/recommend/{user}?n=100&after={position}&wait_ms=5000")
        assert found["after"] == {"position": position, "state": "applied"}
        assert {each["tag"]: each["score"] for each in found["tags"]} == ledger.scores(user)
        newest = answer(whole, f"/users/{user}/events?n=1")["events"][0]
        assert (newest["product_id"], newest["event_type"], newest["position"]) == (event["product_id"], kind, position)
    crowded = max(ledger.users, key=lambda each: len(ledger.users[each]))
    too_much = {**event, "event_id": "own-crowded", "user_id": crowded, "tags": ["zzz"]}
    for sent, verdict in ((event, "duplicate"), (too_much, "applied")):
        position = _sent(whole, sent)
        ledger.book(sent, kind)
        path = f"/recommend/{sent['user_id']}?after={position}"
        assert _verdict(whole, path) == verdict
    assert "zzz" not in ledger.kept(crowded)


def _verdict(whole: Stack, path: str) -> str:
    """What is said of an event once something is known of it: not while Redis takes longer than the service waits."""
    said: list[str] = []

    def is_known() -> bool:
        said.append(str(answer(whole, path)["after"]["state"]))
        return said[-1] not in ("pending", "unknown")

    wait_until("the verdict", is_known)
    return said[-1]


def _sent(whole: Stack, event: dict[str, object]) -> str:
    request = urllib.request.Request(
        whole.env["API_URL"] + "/update",
        json.dumps(event).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return str(json.load(response)["position"])


def test_weights_over_http_move_every_answer_at_once(whole: Stack, traffic: Traffic, client: redis.Redis) -> None:
    """The next answer of any user is exact for the new weights, and the stored scores of all users follow."""
    ledger = traffic.ledger
    version = put_weights(whole, ledger, {"view": 0, "add_to_cart": 0.5, "purchase": 7})
    for user in list(ledger.users)[:50]:
        found = answer(whole, f"/recommend/{user}?n=100")
        assert found["weights_version"] == version
        assert {each["tag"]: each["score"] for each in found["tags"]} == dict(
            sorted(ledger.scores(user).items(), key=lambda item: (-item[1], item[0]))[:100]
        )
    traffic.send(500)
    compare_at_rest(whole, client, ledger)


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
    traffic.ledger.book_weights({"view": 2, "add_to_cart": 4, "purchase": 6}, stat.mzxid)
    wait_until("the document in force", lambda: answer(whole, "/api/config/weights")["version"] == stat.mzxid)
    assert answer(whole, "/api/config/weights")["weights"] == traffic.ledger.weights
    compare_at_rest(whole, client, traffic.ledger)
