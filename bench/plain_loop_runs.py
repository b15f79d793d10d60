"""Running the plain loop in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from bench.errors import BenchmarkError
from bench.workbench import Workbench
from deploy.local.home import CHECKOUT, STACK_ID_VARIABLE

DATABASE = 1
"""Redis database that the loop writes to, beside the job's."""
_SECONDS = 1_800


@dataclass(frozen=True, slots=True)
class LoopRun:
    """What the loop reports, its start-up left out: both times begin with the first record."""

    records: int
    events: int
    users: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


def run_plain_loop(bench: Workbench) -> LoopRun:
    """Empty the loop's database and let it read all topics to their end.

    Raises:
        BenchmarkError: It failed.
    """
    with bench.redis(DATABASE) as client:
        client.flushdb()
    environment = {**os.environ, STACK_ID_VARIABLE: bench.stack.home.stack_id}  # so that it ends with the stack
    done = subprocess.run(
        (sys.executable, "-m", "bench.plain_loop", bench.kafka, bench.redis_url(DATABASE)),
        cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchmarkError(f"the plain loop failed:\n{done.stderr[-2000:]}")
    return LoopRun(**json.loads(done.stdout))
