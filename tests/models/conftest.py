"""A real Redis for models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from deploy.local import Stack
from tests.servers import empty_redis, fresh_stack


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """Redis, started once."""
    with fresh_stack("redis") as started:
        yield started


@pytest.fixture
def database(stack: Stack) -> Iterator[redis.Redis]:
    """Redis, empty before and after."""
    with empty_redis(stack.addresses.redis_url) as client:
        yield client
