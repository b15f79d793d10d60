"""A real Redis for models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from deploy.local import Stack


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """Redis, started once."""
    with (
        tempfile.TemporaryDirectory(prefix="mod-", ignore_cleanup_errors=True) as home,
        Stack(home=Path(home), parts=("redis",)) as started,
    ):
        yield started


@pytest.fixture
def database(stack: Stack) -> Iterator[redis.Redis]:
    """Redis, empty before and after."""
    client = redis.Redis.from_url(stack.addresses.redis_url, decode_responses=True)
    client.flushall()
    yield client
    client.flushall()
    client.close()
