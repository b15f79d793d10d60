"""Everything on a Redis that Sentinels watch, whose master is killed: ``make cluster``.

Not among the tests that are found by themselves, since it takes some minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import synthetic
from deploy.local import Stack
from deploy.local.parts import DEFAULT_PARTS
from tests.redis_modes import Ground, watched_by_sentinels
from tests.waiting import wait_until

HOME = Path(__file__).resolve().parents[2] / ".local" / "test-sentinel"
RECORDS, MORE = 50_000, 20_000
PATIENCE = 600.0


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """Master, replica and Sentinels."""
    with watched_by_sentinels() as servers:
        yield servers


@pytest.fixture(scope="module")
def stack(ground: Ground) -> Iterator[Stack]:
    """The whole stack, which asks the Sentinels for the master."""
    shutil.rmtree(HOME, ignore_errors=True)
    parts = tuple(part for part in DEFAULT_PARTS if part != "redis")
    with Stack(HOME, parts, environment={**os.environ, "STACK_REDIS_URL": ground.url}) as started:
        yield started


def verified(stack: Stack) -> int:
    """How many records `reweigh verify` has compared, without a difference."""
    command = (sys.executable, "-m", "reweigh.cli", "verify", "--env", str(stack.home.stack_env), "--output", "json")
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["differences"] == []
    return int(found["records"]["read"])


def test_the_job_follows_the_master(stack: Stack, ground: Ground) -> None:
    """Counted; the master killed at rest, when the replica has everything; counted on, without a difference."""
    synthetic.produce(stack.addresses.kafka, RECORDS, 6)
    assert verified(stack) == RECORDS
    master = next(each for each in ground.servers if each.admin().role()[0] == "master")
    with ground.client() as client:
        assert client.wait(1, 10_000) == 1, "the replica has everything"
    ground.servers.remove(master)
    master.kill()
    synthetic.produce(stack.addresses.kafka, MORE, 7)
    (replica,) = ground.servers
    wait_until(lambda: replica.admin().role()[0] == "master", PATIENCE, what="the replica takes over")
    assert verified(stack) == RECORDS + MORE
