"""A real Redis for the job's edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import Stack
from flink_jobs.connected_store import connected_store
from flink_jobs.crowded_users import ITEMS, TAGS
from flink_jobs.redis_store import RedisStore
from reccore.row_cap import RowCap
from redisaccess.clients import client_of
from tests.redis_modes import Ground, cluster, watched_by_sentinels

UNCAPPED = RowCap(1_000_000)
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="package")
def redis_stack() -> Iterator[Stack]:
    """A stack of Redis alone."""
    with Stack(CHECKOUT / ".local" / "test-job", ("redis",)) as stack:
        yield stack


@pytest.fixture(scope="package")
def sentinel_ground() -> Iterator[Ground]:
    """A master that Sentinels watch."""
    with watched_by_sentinels() as ground:
        yield ground


@pytest.fixture(scope="package")
def cluster_ground() -> Iterator[Ground]:
    """A cluster of three."""
    with cluster() as ground:
        yield ground


@pytest.fixture
def way(request: pytest.FixtureRequest) -> str:
    """How Redis is run: as one server, unless :data:`tests.redis_modes.in_each_way` says otherwise."""
    return getattr(request, "param", "server")


@pytest.fixture
def redis_url(request: pytest.FixtureRequest, way: str) -> str:
    """The address of an emptied Redis."""
    if way == "server":
        url = request.getfixturevalue("redis_stack").env["REDIS_URL"]
    else:
        url = request.getfixturevalue(f"{way}_ground").url
    with client_of(url) as client:
        client.flushall()
    return str(url)


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """A client of that Redis."""
    with client_of(redis_url, decode_responses=True) as found:
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
