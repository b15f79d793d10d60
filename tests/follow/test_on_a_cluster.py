"""`reweigh follow` and `reweigh recommend publish`, as processes, with real topics and a Redis Cluster."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from deploy.local import Stack
from reccore import layout
from reccore.encoding import encode_counts, encode_product_statistics, encode_tag_statistics
from reccore.followed_topics import PRODUCT_CATALOG, RATINGS, RECOMMENDATIONS
from reccore.ratings import Rated, decode_rated
from tests.redis_modes import Ground, cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """A cluster."""
    with cluster() as started:
        yield started


@pytest.fixture(scope="module")
def env(stack: Stack, ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The addresses of the stack, but Redis is the cluster."""
    file = tmp_path_factory.mktemp("cluster") / "stack.env"
    addresses = stack.env | {"REDIS_URL": ground.url}
    file.write_text("".join(f"{name}={value}\n" for name, value in addresses.items()))
    return file


def command(env: Path, *words: str) -> subprocess.Popen[str]:
    """A command as a process."""
    return subprocess.Popen(
        (sys.executable, "-m", "reweigh.cli", *words, "--env", str(env)),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


@pytest.fixture
def followers(env: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Two of them."""
    started = [command(env, "follow") for _ in range(2)]
    yield started
    for each in started:
        each.terminate()
        each.communicate()
        assert each.returncode == 0


def test_topics_reach_a_cluster(
    ground: Ground, env: Path, followers: list[subprocess.Popen[str]], producer: Producer
) -> None:
    """One follower is killed and replaced again and again, a node is emptied: Redis holds what was sent last."""
    draw = random.Random(9)
    lists, prices, ratings = dict[str, int](), dict[str, int](), dict[str, Rated]()
    for turn in range(3):
        for number in range(turn * 1_000, turn * 1_000 + 600):
            user, product = f"on-{draw.randrange(60)}", f"on-{draw.randrange(30)}"
            lists[user], prices[product] = number, number
            told: dict[str, Any] = {"user_id": user, "products": [{"product_id": "p", "score": number}]}
            producer.produce(RECOMMENDATIONS, json.dumps(told), user)
            producer.produce(PRODUCT_CATALOG, json.dumps({"product_id": product, "price": number}), product)
            rated = Rated(1_600_000_000_000 + draw.randrange(99), 4.0)
            told = {"user_id": user, "product_id": "p", "rating": 4, "timestamp": rated.time_ms}
            producer.produce(RATINGS, json.dumps(told), f"{draw.randrange(9)}")
            ratings[user] = max(rated, ratings.get(user, rated))
            producer.poll(0)
        assert producer.flush(30) == 0
        with ground.client() as client:
            wait_until(lambda client=client: client.exists(layout.CATALOG), 60)  # type: ignore[misc]
        victim = followers.pop(0)
        victim.kill()
        victim.communicate()
        followers.append(command(env, "follow"))
        with ground.servers[turn].admin() as admin:
            admin.flushall()
    with ground.client() as client:

        def is_there() -> bool:
            kept = {user: client.get(layout.recommendations_key(user)) for user in lists}
            rows = client.hgetall(layout.CATALOG)
            stored = {user: client.hget(layout.ratings_key(user), "p") for user in ratings}
            return (
                {user: text and json.loads(text)["products"][0]["score"] for user, text in kept.items()} == lists
                and {name: json.loads(rows.get(name) or '{"price": null}')["price"] for name in prices} == prices
                and {user: text and decode_rated(text) for user, text in stored.items()} == ratings
            )

        wait_until(is_there, 90, pause=0.2)


def test_lists_are_published(ground: Ground, env: Path, followers: list[subprocess.Popen[str]]) -> None:
    """By everybody's history on all masters, and come back by the topic."""
    users = [f"published-{number}" for number in range(250)]
    with ground.client() as client:
        for number in range(9):
            row = encode_product_statistics((number + 1, 0, 0), 5, ["red"])
            client.hset(layout.PRODUCT_STATISTICS, f"p{number}", row)
        client.hset(layout.TAG_STATISTICS, "red", encode_tag_statistics((900, 0, 0), 5))
        for user in users:
            client.hset(layout.counts_key(user), "red", encode_counts((1, 0, 0), 5))
        with command(env, "recommend", "publish", "--n", "5", "--processes", "1") as publishing:
            out, _ = publishing.communicate(timeout=200)
        assert publishing.returncode == 0
        assert "users' lists sent to recommendations" in out
        assert not client.exists(layout.PUBLISHING)
        wait_until(lambda: all(client.exists(layout.recommendations_key(user)) for user in users), 60, pause=0.2)
        kept = json.loads(client.get(layout.recommendations_key(users[0])))
        assert len(kept["products"]) == 5
