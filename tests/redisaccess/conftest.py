"""Redis in each of the ways in which it is run, shared by the tests of this package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.redis_modes import GROUNDS, Ground


@pytest.fixture(scope="package", params=GROUNDS)
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Servers of one kind."""
    with GROUNDS[request.param]() as started:
        yield started


@pytest.fixture
def client(ground: Ground) -> Iterator[Any]:
    """A client, of an empty Redis."""
    ground.empty()
    with ground.client() as found:
        yield found
