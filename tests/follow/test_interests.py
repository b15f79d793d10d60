"""The topic of interest profiles, carried into a real Redis by the process of the stack."""

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
from reccore.followed_topics import USER_BEHAVIOR
from reccore.interests import InterestProfile, Interests
from tests.follow.conftest import letters, second_follower
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def send(producer: Producer, profile: InterestProfile, key: str) -> None:
    """Send a profile, whose items nobody looks at."""
    items = [{"item_id": f"p{number}"} for number in range(profile.items)]
    fields: dict[str, Any] = {"user_id": profile.user_id, "timestamp": profile.time_ms, "items": items}
    value = json.dumps({**fields, "tags": dict(profile.tags), "weights_version": profile.weights_version})
    producer.produce(USER_BEHAVIOR, value, key)
    producer.poll(0)


def stored(client: Any, user_id: str) -> Interests | None:
    """What Redis holds of a user."""
    vector, about = (client.hgetall(key(user_id)) for key in (layout.interests_key, layout.about_interests_key))
    return Interests.stored(vector, about)


def test_a_profile_becomes_a_vector(client: Any, producer: Producer) -> None:
    """Of length 1; a newer one replaces all of it, and one without tags leaves none."""
    send(producer, InterestProfile("ann", 1_600_000_000_000, 2, {"shoes": 3.0, "red": 4.0}, 7), "ann")
    assert producer.flush(30) == 0
    wait_until(lambda: client.hgetall("user_profile:ann") == {"shoes": "0.6", "red": "0.8"}, 30)
    about = {"timestamp_ms": "1600000000000", "items": "2", "weights_version": "7"}
    assert client.hgetall("{user_profile:ann}:about") == about
    send(producer, InterestProfile("ann", 1_600_000_000_001, 1, {"blue": 2.5}, 7), "ann")
    assert producer.flush(30) == 0
    wait_until(lambda: client.hgetall("user_profile:ann") == {"blue": "1"}, 30)
    send(producer, InterestProfile("ann", 1_600_000_000_002, 0, {}, 7), "ann")
    assert producer.flush(30) == 0
    wait_until(lambda: not client.exists("user_profile:ann"), 30)
    assert client.hget("{user_profile:ann}:about", "items") == "0"


def test_bad_records_are_dead_letters(stack: Stack, client: Any, producer: Producer) -> None:
    """Each by its reason; the others are carried on."""
    bad = {
        b"[]": "not_an_object",
        b'{"items": [], "tags": {}}': "invalid_user_id",
        b'{"user_id": "u", "tags": {}}': "invalid_items",
        b'{"user_id": "u", "items": []}': "invalid_tags",
        b'{"user_id": "u", "items": [], "tags": {}, "timestamp": "soon"}': "invalid_timestamp",
    }
    for value in bad:
        producer.produce(USER_BEHAVIOR, value, "u")
    send(producer, InterestProfile("good", 1_600_000_000_000, 1, {"a": 1.0}, 7), "good")
    assert producer.flush(30) == 0
    wait_until(lambda: stored(client, "good"), 30)
    assert sorted(each["reason"] for each in letters(stack, USER_BEHAVIOR, len(bad))) == sorted(bad.values())


def test_killed_beside_another_in_any_order(stack: Stack, client: Any, producer: Producer) -> None:
    """Shuffled, some sent again, SIGKILL in between, two at once, Redis emptied: the newest profile is what holds."""
    draw = random.Random(11)
    sent = [
        InterestProfile(
            f"an{{odd}}-{draw.randrange(15)}",
            1_600_000_000_000 + draw.randrange(60),
            draw.randrange(3),
            {f"t{number}": draw.randrange(-3, 9) / 2 for number in range(draw.randrange(6))},
            draw.randrange(3),
        )
        for _ in range(2_000)
    ]
    wanted: dict[str, Interests] = {}
    for each in sent:
        interests = Interests.of(each)
        wanted[each.user_id] = max(interests, wanted.get(each.user_id, interests))
    again = [*sent, *draw.sample(sent, 400)]
    draw.shuffle(again)
    with second_follower(stack):
        for start in range(0, len(again), 800):
            for each in again[start : start + 800]:
                send(producer, each, str(draw.randrange(9)))  # of one user in several partitions
            wait_until(lambda: stack.pid("follower"))
            if victim := stack.pid("follower"):
                os.kill(victim, signal.SIGKILL)
            if start == 800:
                client.flushall()
            assert producer.flush(30) == 0
        wait_until(lambda: all(stored(client, user_id) == each for user_id, each in wanted.items()), 60)
