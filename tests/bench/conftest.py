"""One stack for all smoke runs."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.workbench import Workbench
from deploy.local import Stack
from deploy.local.supervision import Supervisor

log = logging.getLogger(__name__)

LOCAL = Path(__file__).resolve().parents[2] / ".local"
PARTS = ("zookeeper", "kafka", "redis", "flink", "api", "sweeper")


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """Every part but the job, which the benchmarks submit themselves."""
    home = LOCAL / f"test-bench-{os.getpid()}"  # two runs of the tests must not share a stack
    with Stack(home, PARTS) as started:
        before = Supervisor(started.home).states()["taskmanager"]
        yield started
        after = Supervisor(started.home).states()["taskmanager"]
        assert after.pid == before.pid, "no job may cost the TaskManager its life, however many were submitted before"
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def bench(stack: Stack) -> Callable[..., Workbench]:
    """Make a workbench with the sizes given; progress is shown for a test that fails."""
    began = time.monotonic()

    def tell(line: str) -> None:
        log.info("%5.1f s: %s", time.monotonic() - began, line)

    return lambda **sizes: Workbench(stack, rounds=1, quick=True, tell=tell, sizes=sizes)
