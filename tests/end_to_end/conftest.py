"""The whole system, as ``make up`` starts it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from deploy.local import Stack

HOME = Path(__file__).resolve().parents[2] / ".local" / "test-whole"


@pytest.fixture(scope="package")
def whole() -> Iterator[Stack]:
    """A stack of all parts with nothing in it."""
    shutil.rmtree(HOME, ignore_errors=True)
    with Stack(HOME, tell=print) as stack:
        yield stack


@pytest.fixture
def client(whole: Stack) -> Iterator[redis.Redis]:
    """A client of its Redis."""
    with redis.Redis.from_url(whole.env["REDIS_URL"], decode_responses=True) as found:
        yield found
