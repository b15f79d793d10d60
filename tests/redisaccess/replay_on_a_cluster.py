"""Everything on a Redis Cluster, and a replay there that is killed in its exchange: ``make cluster``.

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
from typing import Any

import pytest

from bench import synthetic
from deploy.local import Stack
from deploy.local.parts import DEFAULT_PARTS
from reccore import layout
from redisaccess.clients import client_of
from tests.redis_modes import cluster
from tests.waiting import wait_until

HOME = Path(__file__).resolve().parents[2] / ".local" / "test-cluster"
RECORDS, MORE = 100_000, 20_000
PATIENCE = 600.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The whole stack, whose Redis is a cluster of three masters."""
    shutil.rmtree(HOME, ignore_errors=True)
    parts = tuple(part for part in DEFAULT_PARTS if part != "redis")
    with cluster() as ground, Stack(HOME, parts, environment={**os.environ, "STACK_REDIS_URL": ground.url}) as started:
        yield started


def command(*words: str) -> tuple[str, ...]:
    """A command of the project."""
    return sys.executable, "-m", "reweigh.cli", *words


def run(*words: str) -> str:
    """What such a command prints."""
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def verified(stack: Stack) -> dict[str, Any]:
    """What `reweigh verify` finds, which is no difference."""
    found: dict[str, Any] = json.loads(run("verify", "--env", str(stack.home.stack_env), "--output", "json"))
    assert found["differences"] == []
    return found


def test_rebuilt_and_exchanged_also_when_killed(stack: Stack) -> None:
    """Counted, verified, rebuilt, compared, exchanged; killed in the exchange, and gone on with; then counted on."""
    home = ("--home", str(HOME))
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
