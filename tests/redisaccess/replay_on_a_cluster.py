"""Everything on a Redis Cluster, and a replay there that is killed in its exchange: ``make cluster``.

Not among the tests that are found by themselves, since it takes some minutes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from bench import synthetic
from deploy.local import Stack
from reccore import layout
from redisaccess.clients import client_of
from tests.redis_modes import cluster
from tests.redisaccess.whole import PATIENCE, command, run, verified, whole_stack
from tests.waiting import wait_until

RECORDS, MORE = 100_000, 20_000


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The whole stack, whose Redis is a cluster of three masters."""
    with cluster() as ground, whole_stack("test-cluster", ground.url) as started:
        yield started


def test_rebuilt_and_exchanged_also_when_killed(stack: Stack) -> None:
    """Counted, verified, rebuilt, compared, exchanged; killed in the exchange, and gone on with; then counted on."""
    home = ("--home", str(stack.home.path))
    synthetic.produce(stack.addresses.kafka, RECORDS, 3)
    verified(stack)
    assert "0 keys differ" in run("replay", "--check", *home)
    run("replay", *home)
    synthetic.produce(stack.addresses.kafka, MORE, 4)
    verified(stack)
    client = client_of(stack.env["REDIS_URL"], decode_responses=True)
    with subprocess.Popen(command("replay", *home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as replay:
        try:
            wait_until(lambda: client.exists(layout.EXCHANGE), PATIENCE, what="the exchange begins", pause=0.002)
        finally:
            replay.kill()
    assert client.exists(layout.EXCHANGE), "it was killed too late to have anything left to do"
    client.close()
    assert "live: what the earlier replay had counted anew" in run("replay", *home)
    synthetic.produce(stack.addresses.kafka, MORE, 5)
    verified(stack)
