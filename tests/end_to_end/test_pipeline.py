"""The promise as a whole, on the real cluster: events in, the whole of Redis compared with an independent recount."""

from __future__ import annotations

import time

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
