"""The whole system, as ``make up`` starts it, with one further event type; and all that is ever sent to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from deploy.local import Stack
from faults.ledger import EXTRA_EVENT_TYPES, MOST_PRODUCTS_PER_USER, MOST_TAGS_PER_USER, RECENT_EVENTS
from faults.traffic import Traffic
from tests.event_cases import CASES

POISON = [(case.raw, str(case.expected)) for case in CASES if isinstance(case.expected, str)]
SETTINGS = {
    "EXTRA_EVENT_TYPES": EXTRA_EVENT_TYPES,
    "MOST_TAGS_PER_USER": str(MOST_TAGS_PER_USER),
    "MOST_PRODUCTS_PER_USER": str(MOST_PRODUCTS_PER_USER),
    "RECENT_EVENTS": str(RECENT_EVENTS),
    "REWEIGH_PARALLELISM": "2",
}
HOME = Path(__file__).resolve().parents[2] / ".local" / "test-whole"


@pytest.fixture(scope="package")
def whole() -> Iterator[Stack]:
    """A stack of all parts with nothing in it; the job has two subtasks of each step, so that rows change hands."""
    shutil.rmtree(HOME, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        # No setting of the stack: the service inherits it. A machine that stands still makes no event an error here.
        patch.setenv("API_INGEST_TIMEOUT_MS", "8000")
        with Stack(HOME, environment={**os.environ, **SETTINGS}, tell=print) as stack:
            yield stack


@pytest.fixture(scope="package")
def traffic(whole: Stack) -> Iterator[Traffic]:
    """One stream of events, and one ledger, for all tests of the package in their order."""
    with Traffic(whole.env["KAFKA_BOOTSTRAP"], seed=20_240_229, poison=POISON) as made:
        yield made


@pytest.fixture
def client(whole: Stack) -> Iterator[redis.Redis]:
    """A client of its Redis."""
    with redis.Redis.from_url(whole.env["REDIS_URL"], decode_responses=True) as found:
        yield found
