"""A real Redis for what `reweigh verify` compares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from deploy.local import Stack

HOME = Path(__file__).resolve().parents[2] / ".local" / "test-verify"


@pytest.fixture(scope="package")
def redis_url() -> Iterator[str]:
    """The address of a Redis in a home of its own, stopped at the end."""
    with Stack(HOME, ("redis",)) as stack:
        yield stack.env["REDIS_URL"]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of it, with nothing in it."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as found:
        found.flushdb()
        yield found
