"""A real Redis for the job's edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from deploy.local import Stack
from flink_jobs.connected_store import connected_store
from flink_jobs.crowded_users import ITEMS, TAGS
from flink_jobs.redis_store import RedisStore
from reccore.row_cap import RowCap

UNCAPPED = RowCap(1_000_000)
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="package")
def redis_stack() -> Iterator[Stack]:
    """A stack of Redis alone."""
    with Stack(CHECKOUT / ".local" / "test-job", ("redis",)) as stack:
        yield stack


@pytest.fixture
def redis_url(redis_stack: Stack) -> str:
    """The address of an emptied Redis."""
    url = redis_stack.env["REDIS_URL"]
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of that Redis."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as found:
        yield found


@pytest.fixture
def open_store(redis_url: str) -> Iterator[Callable[..., RedisStore]]:
    """Make stores that have taken the place of a subtask, and close them at the end."""
    opened: list[RedisStore] = []

    def make(subtask: int = 0, subtasks: int = 1, cap: RowCap = UNCAPPED, patience: float = 5) -> RedisStore:
        store = connected_store(redis_url, patience_seconds=patience, caps={TAGS: cap, ITEMS: cap})
        store.open("test", subtasks, subtask)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()
