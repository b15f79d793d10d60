"""Recommendations computed ahead: sent by the command, carried into Redis by the process of the stack."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from deploy.local import Stack
from reccore import layout
from reccore.encoding import encode_counts, encode_product_statistics, encode_tag_statistics
from reccore.followed_topics import RECOMMENDATIONS
from recsvc.models.store import ModelStore
from tests.follow.conftest import letters
from tests.models.making import made_up
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

PRODUCTS = 60


def test_the_last_list_of_a_user_is_kept(client: Any, producer: Producer) -> None:
    """As the message has it; without a value it goes."""
    for score in (1, 2.5):
        told = {"user_id": "ann", "timestamp": 1_600_000_000_000, "products": [{"product_id": "p", "score": score}]}
        producer.produce(RECOMMENDATIONS, json.dumps(told), "ann")
    assert producer.flush(30) == 0
    wait_until(lambda: '"score":2.5' in (client.get("recommendations:ann") or ""), 30)
    kept = json.loads(client.get("recommendations:ann") or "")
    assert kept == {**told, "weights_version": 0, "model_version": 0}
    producer.produce(RECOMMENDATIONS, None, "ann")
    assert producer.flush(30) == 0
    wait_until(lambda: not client.exists("recommendations:ann"), 30)


def test_bad_records_are_dead_letters(stack: Stack, client: Any, producer: Producer) -> None:
    """Each by its reason; the others are carried on."""
    product = {"product_id": "p", "score": 1}
    bad = {
        b"[]": "not_an_object",
        b'{"products": []}': "invalid_user_id",
        b'{"user_id": "u"}': "invalid_recommendations",
        json.dumps({"user_id": "u", "products": [product] * 101}).encode(): "invalid_recommendations",
        b'{"user_id": "u", "products": [{"product_id": "", "score": 1}]}': "invalid_recommendations",
        b'{"user_id": "u", "products": [{"product_id": "p", "score": "1"}]}': "invalid_recommendations",
        b'{"user_id": "u", "products": [], "model_version": -1}': "invalid_recommendations",
    }
    for value in bad:
        producer.produce(RECOMMENDATIONS, value, "u")
    producer.produce(RECOMMENDATIONS, None, b"\xff")
    producer.produce(RECOMMENDATIONS, json.dumps({"user_id": "good", "products": [product]}), "good")
    assert producer.flush(30) == 0
    found = sorted(each["reason"] for each in letters(stack, RECOMMENDATIONS, len(bad) + 1))
    assert found == sorted([*bad.values(), "invalid_user_id"])
    wait_until(lambda: client.exists("recommendations:good"), 30)


@pytest.fixture
def users(stack: Stack, client: Any) -> Iterator[list[str]]:
    """Six thousand users with a history, statistics and a model in Redis."""
    names = [f"user-{number}" for number in range(5_999)] + ["a{b}c"]
    with client.pipeline(transaction=False) as pipeline:
        for number in range(PRODUCTS):
            row = encode_product_statistics((number + 1, 0, 0), 5, ["red" if number % 2 else "blue"])
            pipeline.hset(layout.PRODUCT_STATISTICS, f"p{number}", row)
        for tag in ("red", "blue"):
            pipeline.hset(layout.TAG_STATISTICS, tag, encode_tag_statistics((900, 0, 0), 5))
        for number, user in enumerate(names):
            if number % 3:
                pipeline.hset(layout.counts_key(user), "red", encode_counts((1 + number % 5, 0, 0), 5))
            pipeline.hset(layout.items_key(user), f"p{number % PRODUCTS}", encode_counts((1, 0, 1), 5))
            pipeline.sadd(layout.purchased_key(user), f"p{number % PRODUCTS}")
        pipeline.execute()
    store = ModelStore(stack.env["REDIS_URL"])
    store.publish(made_up(PRODUCTS))
    store.close()
    yield names
    client.delete(*(key for user in names for key in (
        layout.counts_key(user), layout.items_key(user), layout.purchased_key(user), layout.recommendations_key(user)
    )))  # fmt: skip
    client.delete(layout.PRODUCT_STATISTICS, layout.TAG_STATISTICS, layout.PUBLISHING)


def publishing(stack: Stack, *further: str) -> subprocess.Popen[str]:
    """The command as a process."""
    command = (sys.executable, "-m", "reweigh.cli", "recommend", "publish", "--n", "5", "--processes", "2", *further)
    return subprocess.Popen(
        (*command, "--env", str(stack.home.stack_env)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def lists(client: Any, users: list[str]) -> list[Any]:
    """What Redis holds of them."""
    found: Any = client.mget([layout.recommendations_key(user) for user in users])
    return [each and json.loads(each) for each in found]


def test_everybody_gets_a_list(stack: Stack, client: Any, users: list[str]) -> None:
    """By the model, without what was bought; also when the command was killed in between and is run again."""
    killed = publishing(stack)
    wait_until(lambda: client.exists(layout.PUBLISHING), 60)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    with publishing(stack) as again:
        out, _ = again.communicate(timeout=200)
        assert again.returncode == 0
    assert "users' lists sent to recommendations" in out
    assert not client.exists(layout.PUBLISHING)
    wait_until(lambda: all(lists(client, users)), 60)
    for number, (user, found) in enumerate(zip(users, lists(client, users), strict=True)):
        assert found["user_id"] == user
        assert found["model_version"] > 0
        assert len(found["products"]) == 5
        assert f"p{number % PRODUCTS}" not in [each["product_id"] for each in found["products"]]
        assert {each["source"] for each in found["products"]} & {"als", "neighbours"}
