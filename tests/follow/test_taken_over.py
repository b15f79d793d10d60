"""Ratings and interests when a rebuild of what is counted takes the place of the live database."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import duckdb
import pytest
from confluent_kafka import Producer

from deploy.local import Stack
from reccore import layout
from reccore.followed_topics import RATINGS
from reccore.interests import InterestProfile, Interests
from reweigh.databases import Databases
from reweigh.verify.stored import Stored
from tests.follow.test_interests import send, stored
from tests.follow.test_ratings import message
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
USERS = ("ann", "an{odd}user", "a/b")


def rated(client: Any, user_id: str) -> dict[str, str]:
    """A user's ratings as they are stored."""
    found: dict[str, str] = client.hgetall(layout.ratings_key(user_id))
    return found


def test_they_are_taken_over(stack: Stack, client: Any, producer: Producer) -> None:
    """All that was there, and what comes between the copy and the exchange; none of it is compared or unexpected."""
    client.flushall()
    profiles = [InterestProfile(user_id, 1_900_000_000_000, 1, {"shoes": 1.0}, 7) for user_id in USERS]
    for profile in profiles:
        send(producer, profile, profile.user_id)
        producer.produce(RATINGS, message(profile.user_id, "taken-over", 4, 1_900_000_000_000), profile.user_id)
    assert producer.flush(30) == 0
    before = {"taken-over": "4;1900000000000"}
    wait_until(lambda: all(before.items() <= rated(client, each).items() for each in USERS), 60)
    wait_until(lambda: all(stored(client, each.user_id) == Interests.of(each) for each in profiles), 60)
    with closing(Databases(stack.env["REDIS_URL"])) as databases:
        databases.prepare()
        databases.copy_what_is_kept()
        assert [key for key, live, beside in databases.pairs() if live != beside] == []
        producer.produce(RATINGS, message("ann", "in-between", 2, 1_900_000_000_001), "ann")
        assert producer.flush(30) == 0
        wait_until(lambda: "in-between" in rated(client, "ann"), 30)
        databases.swap()
    producer.produce(RATINGS, message("ann", "afterwards", 3, 1_900_000_000_002), "ann")
    assert producer.flush(30) == 0
    added = {"in-between": "2;1900000000001", "afterwards": "3;1900000000002"}
    wait_until(lambda: (before | added).items() <= rated(client, "ann").items(), 30)
    assert all(before.items() <= rated(client, each).items() for each in USERS)
    assert all(stored(client, each.user_id) == Interests.of(each) for each in profiles)
    with closing(Stored(stack.env["REDIS_URL"])) as verified, duckdb.connect() as database:
        verified.read_into(database, lambda _done, _total: None)
        assert database.sql("SELECT * FROM stored_others").fetchall() == []
