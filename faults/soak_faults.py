"""What may happen during the soak: the cheaper faults of the other rows."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial

from faults.at_rest import put_weights
from faults.run import Run
from faults.streams import python_workers


def _kill(server: str, run: Run) -> None:
    gone = run.stack.kill(server)
    run.another(server, gone)


def _pause(server: str, run: Run) -> None:
    stopped = run.stack.kill(server, signal.SIGSTOP)
    try:
        time.sleep(run.random.uniform(1, 6))
    finally:
        os.kill(stopped, signal.SIGCONT)


def _kill_worker(run: Run) -> None:
    run.random.choice(python_workers(run.stack)).kill()


def _change_weights(run: Run) -> None:
    lots = run.random
    weights: dict[str, float] = {
        "view": lots.randint(0, 9),
        "add_to_cart": lots.randint(0, 9),
        "purchase": lots.randint(1, 9),
    }
    put_weights(run.stack, run.traffic.ledger, weights)


SOAK_FAULTS: dict[str, Callable[[Run], None]] = {
    "TaskManager killed": partial(_kill, "taskmanager"),
    "Redis killed": partial(_kill, "redis"),
    "broker killed": partial(_kill, "kafka"),
    "ZooKeeper killed": partial(_kill, "zookeeper"),
    "Redis paused": partial(_pause, "redis"),
    "broker paused": partial(_pause, "kafka"),
    "ZooKeeper paused": partial(_pause, "zookeeper"),
    "Python worker killed": _kill_worker,
    "weights changed": _change_weights,
}
