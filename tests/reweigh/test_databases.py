"""A rebuild in the database beside the live one, on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from deploy.local import Stack
from flink_jobs.connected_store import connected_store
from flink_jobs.errors import FencedOffError
from flink_jobs.redis_store import RedisStore, WeightsStamp
from flink_jobs.user_rows import UserRows
from reccore import encoding, layout
from reweigh.databases import Databases
from tests.servers import empty_redis, fresh_stack

STAMP = WeightsStamp(1, '{"view": 1}')
KEY = layout.counts_key("ann")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A Redis."""
    with fresh_stack("redis") as started:
        yield started


@pytest.fixture
def client(stack: Stack) -> Iterator[Any]:
    """A client of it, when it is empty."""
    with empty_redis(stack.addresses.redis_url) as found:
        yield found


def writer(url: str) -> RedisStore:
    """One that has just taken the place of the one before."""
    store = connected_store(url, patience_seconds=30)
    store.open("WriteProfiles", 1, 0)
    return store


def rows(count: int) -> list[UserRows]:
    """A user's."""
    return [UserRows("ann", ["tag", encoding.encode_counts((count, 0, 0), 1)], ["tag", str(count)], [])]


@pytest.mark.parametrize("newest", [None, 1, 10**9], ids=["fresh", "of long ago", "ahead of the clock"])
def test_a_writer_from_before_the_exchange_is_refused_after_it(client: Any, stack: Stack, newest: int | None) -> None:
    """Both took their places in one minute, from counters of their own, and the older one was paused meanwhile."""
    if newest is not None:
        client.set(layout.WRITER_EPOCH, newest)
    url = stack.addresses.redis_url
    with closing(writer(url)) as before, closing(Databases(url)) as databases:
        before.commit_profiles(rows(1), STAMP)
        databases.prepare()
        with closing(writer(url)) as paused, closing(writer(databases.job_url)) as rebuilding:
            paused.commit_profiles(rows(2), STAMP)
            rebuilding.commit_profiles(rows(3), STAMP)
            databases.swap()
            for each in (before, paused):
                with pytest.raises(FencedOffError):
                    each.commit_profiles(rows(4), STAMP)
        assert client.hgetall(KEY) == {"tag": "3,0,0;1"}


def test_what_is_rebuilt_begins_with_the_weights_in_force(client: Any, stack: Stack) -> None:
    """A writer without ZooKeeper scores by them; the sweeper has not seen this database yet."""
    in_force = {"version": "36", "document": '{"view": 2, "add_to_cart": 3, "purchase": 5}'}
    client.hset(layout.WEIGHTS_IN_FORCE, mapping={**in_force, "swept": "36"})
    with closing(Databases(stack.addresses.redis_url)) as databases:
        databases.prepare()
        with closing(writer(databases.job_url)) as rebuilding:
            assert rebuilding.read_weights_in_force() == in_force
        assert databases.weights_versions() == ("36", "36")
        databases.drop()


def test_without_weights_in_force_there_are_none_beside(client: Any, stack: Stack) -> None:
    """Where nothing was ever written."""
    assert not client.exists(layout.WEIGHTS_IN_FORCE)
    with closing(Databases(stack.addresses.redis_url)) as databases:
        databases.prepare()
        assert databases.weights_versions() == (None, None)
        databases.drop()
