"""Everything on a Redis that Sentinels watch, whose master is killed: ``make cluster``.

Not among the tests that are found by themselves, since it takes some minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import synthetic
from deploy.local import Stack
from tests.redis_modes import Ground, is_master, watched_by_sentinels
from tests.redisaccess.whole import PATIENCE, verified, whole_stack
from tests.waiting import wait_until

RECORDS, MORE = 50_000, 20_000


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """Master, replica and Sentinels."""
    with watched_by_sentinels() as servers:
        yield servers


@pytest.fixture(scope="module")
def stack(ground: Ground) -> Iterator[Stack]:
    """The whole stack, which asks the Sentinels for the master."""
    with whole_stack("test-sentinel", ground.url) as started:
        yield started


def test_the_job_follows_the_master(stack: Stack, ground: Ground) -> None:
    """Counted; the master killed at rest, when the replica has everything; counted on, without a difference."""
    synthetic.produce(stack.addresses.kafka, RECORDS, 6)
    assert verified(stack)["records"]["read"] == RECORDS
    master = next(filter(is_master, ground.servers))
    with ground.client() as client:
        assert client.wait(1, 10_000) == 1, "the replica has everything"
    ground.servers.remove(master)
    master.kill()
    synthetic.produce(stack.addresses.kafka, MORE, 7)
    wait_until(ground.masters, PATIENCE, what="the replica takes over")
    assert verified(stack)["records"]["read"] == RECORDS + MORE
