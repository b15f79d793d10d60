"""What the canary leaves in a real Redis is what the service reads there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from reccore import layout
from recsvc.errors import StoreUnavailable
from recsvc.stored_figures import StoredFiguresReader
from reweigh.canary.outcome import StoredOutcome
from tests.servers import fresh_stack

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A Redis of its own."""
    with fresh_stack("redis") as stack:
        yield stack.addresses.redis_url


@pytest.fixture
def reader(url: str) -> Iterator[StoredFiguresReader]:
    """What the service reads with."""
    reader = StoredFiguresReader(url, timeout_ms=2_000)
    yield reader
    reader.stop()


def test_the_last_outcome_is_read(url: str, reader: StoredFiguresReader) -> None:
    """Nothing before there is one; then each takes the place of the one before."""
    assert reader.measured() is None
    with closing(StoredOutcome(url)) as outcome:
        outcome.note("late", 30.0)
        outcome.note("seen", 0.15)
    found = reader.measured()
    assert found is not None
    assert (found.outcome, found.seconds) == ("seen", 0.15)
    assert abs(found.at_ms / 1000 - time.time()) < 600


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": "seen", "seconds": "0.1"},
        {"outcome": "seen", "seconds": "soon", "at_ms": "1"},
        {"outcome": "else", "seconds": "1", "at_ms": "1"},
    ],
)
def test_what_is_no_measurement_is_none(url: str, reader: StoredFiguresReader, fields: dict[str, str]) -> None:
    """It is said to be none, rather than shown."""
    with redis.Redis.from_url(url) as client:
        client.delete(layout.CANARY_OUTCOME)
        client.hset(layout.CANARY_OUTCOME, mapping=dict(fields))
        with pytest.raises(StoreUnavailable, match="is no measurement"):
            reader.measured()
        client.delete(layout.CANARY_OUTCOME)


def test_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """The canary goes on, and tells in its log; the service says that Redis is away."""
    with closing(StoredOutcome(NOWHERE)) as outcome:
        outcome.note("seen", 0.15)
    assert "not noted in Redis" in caplog.text
    reader = StoredFiguresReader(NOWHERE, timeout_ms=100)
    with pytest.raises(StoreUnavailable, match="Redis does not answer"):
        reader.measured()
    reader.stop()
