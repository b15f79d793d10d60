"""Servers for tests, of the project's own stack."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from deploy.local import Stack


@contextmanager
def fresh_stack(*parts: str) -> Iterator[Stack]:
    """Run some parts in a folder of their own that goes with them, as nothing before has left them."""
    with (
        tempfile.TemporaryDirectory(prefix="test-", ignore_cleanup_errors=True) as home,
        Stack(home=Path(home), parts=parts) as stack,
    ):
        yield stack


@contextmanager
def empty_redis(url: str) -> Iterator[redis.Redis]:
    """Give a client of a Redis with nothing in it, and leave nothing."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        client.flushall()
        yield client
        client.flushall()
