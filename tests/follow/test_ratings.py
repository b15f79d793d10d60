"""The topic of ratings, carried into a real Redis by the process of the stack."""

from __future__ import annotations

import json
import os
import random
import signal
from typing import Any

import pytest
from confluent_kafka import Producer

from deploy.local import Stack
from reccore import layout
from reccore.dead_letters import Reason
from reccore.followed_topics import RATINGS
from reccore.ratings import MOST_RATINGS, Rated, Rating, decode_rated, newest_ratings
from tests.follow.conftest import letters, second_follower
from tests.rating_cases import NO_VALUE, RATING_CASES, RECORD_TIME_MS
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def message(user_id: str, product_id: str, rating: float, time_ms: int) -> bytes:
    """One rating as JSON."""
    return json.dumps({"user_id": user_id, "product_id": product_id, "rating": rating, "timestamp": time_ms}).encode()


def stored(client: Any, user_id: str) -> dict[str, Rated]:
    """What Redis holds of a user."""
    return {name: decode_rated(text) for name, text in client.hgetall(layout.ratings_key(user_id)).items()}


def test_the_follower_judges_by_the_table(stack: Stack, client: Any, producer: Producer) -> None:
    """Each row with a product of its own: what is valid is stored, the rest is among the dead letters by its reason."""
    valid, refused = dict[str, Rated](), list[Reason]()
    for number, case in enumerate([*RATING_CASES, NO_VALUE]):
        raw = case.raw
        if isinstance(case.expected, Rating):
            fields = json.loads(raw or b"")
            product = f"case-{number}"
            fields |= {"user_id": "cases", "product_id": product}
            raw = json.dumps(fields).encode()
            valid[product] = Rated(case.expected.time_ms, case.expected.rating)
        else:
            refused.append(case.expected)
        producer.produce(RATINGS, raw, "cases", timestamp=RECORD_TIME_MS)
    assert producer.flush(30) == 0
    wait_until(lambda: stored(client, "cases") == valid, 30)
    assert sorted(each["reason"] for each in letters(stack, RATINGS, len(refused))) == sorted(refused)


def test_killed_beside_another_in_any_order(stack: Stack, client: Any, producer: Producer) -> None:
    """Shuffled, some sent again, SIGKILL in between, two at once: the newest ratings are what Redis holds."""
    draw = random.Random(5)
    sent = [
        (f"an{{odd}}-{draw.randrange(20)}", f"p{draw.randrange(30)}", draw.randrange(1, 11) / 2, draw.randrange(300))
        for _ in range(4_000)
    ]
    wanted: dict[str, dict[str, Rated]] = {}
    for user_id, product_id, rating, seconds in sent:
        rated = Rated(1_600_000_000_000 + seconds, rating)
        of_user = wanted.setdefault(user_id, {})
        of_user[product_id] = max(rated, of_user.get(product_id, rated))
    again = [*sent, *draw.sample(sent, 1_000)]
    draw.shuffle(again)
    with second_follower(stack):
        for start in range(0, len(again), 1_250):
            for user_id, product_id, rating, seconds in again[start : start + 1_250]:
                value = message(user_id, product_id, rating, 1_600_000_000_000 + seconds)
                producer.produce(RATINGS, value, f"{draw.randrange(9)}")  # of one user in several partitions
                producer.poll(0)
            wait_until(lambda: stack.pid("follower"))
            if victim := stack.pid("follower"):
                os.kill(victim, signal.SIGKILL)
            assert producer.flush(30) == 0
        wait_until(lambda: all(stored(client, user_id) == rated for user_id, rated in wanted.items()), 60)


def test_the_oldest_leave_a_user_who_has_too_many(client: Any, producer: Producer) -> None:
    """Whatever the order; one that left comes back with a newer rating only."""
    draw = random.Random(7)
    ratings = {
        f"p{number}": Rated(1_600_000_000_000 + draw.randrange(700), 3.0) for number in range(MOST_RATINGS + 300)
    }
    order = draw.sample(list(ratings), len(ratings))
    for product_id in [*order, *order[:200]]:
        producer.produce(RATINGS, message("crowded", product_id, 3, ratings[product_id].time_ms), "crowded")
    assert producer.flush(30) == 0
    kept = newest_ratings(ratings)
    assert len(kept) == MOST_RATINGS
    wait_until(lambda: stored(client, "crowded") == kept, 30)
    back = next(product_id for product_id in ratings if product_id not in kept)
    ratings[back] = Rated(1_700_000_000_000, 5.0)
    producer.produce(RATINGS, message("crowded", back, 5, 1_700_000_000_000), "crowded")
    assert producer.flush(30) == 0
    wait_until(lambda: stored(client, "crowded") == newest_ratings(ratings), 30)


def test_a_lost_redis_gets_everything_again(client: Any, producer: Producer) -> None:
    """From the topic."""
    producer.produce(RATINGS, message("lost", "p", 4.5, 1_600_000_000_000), "lost")
    assert producer.flush(30) == 0
    wait_until(lambda: stored(client, "lost") == {"p": Rated(1_600_000_000_000, 4.5)}, 30)
    keys = {key: client.hgetall(key) for key in client.scan_iter("{*:ratings*")}
    client.flushall()
    wait_until(lambda: {key: client.hgetall(key) for key in client.scan_iter("{*:ratings*")} == keys, 60)
