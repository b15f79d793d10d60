"""When a job has written everything: by its totals, and by the last write that Redis counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bench.errors import BenchmarkError
from reccore import layout
from reccore.totals import Totals, totals_from_rows

POLL_SECONDS = 0.05
QUIET_SECONDS = 1.0
_NO_PROGRESS_SECONDS = 180.0
# What jobs write profiles with: scripts the one, plain commands the other.
_WRITES = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_hset")


def totals(client: Any) -> Totals:
    """Read the totals that the profile job keeps."""
    rows = client.hgetall(layout.TOTALS)
    return totals_from_rows({name: int(value) for name, value in rows.items()})


def writes(client: Any) -> int:
    """Count the writing commands that Redis has carried out since ``CONFIG RESETSTAT``."""
    statistics = client.info("commandstats")
    return sum(int(statistics[name]["calls"]) for name in _WRITES if name in statistics)


def plain_writes(client: Any) -> int:
    """Count the HSETs among them."""
    statistics = client.info("commandstats")
    return int(statistics["cmdstat_hset"]["calls"]) if "cmdstat_hset" in statistics else 0


def wait_for_last_write(client: Any, complete: Callable[[], bool]) -> float:
    """Wait until ``complete`` and then until Redis has been quiet for a second.

    Returns:
        When (``time.perf_counter()``) the last write was seen, 50 ms late at most.

    Raises:
        BenchmarkError: Nothing more is written, and it is not complete.
    """
    count, last = writes(client), time.perf_counter()
    is_complete = False
    while True:
        time.sleep(POLL_SECONDS)
        now, found = time.perf_counter(), writes(client)
        if found != count:
            count, last = found, now
        is_complete = is_complete or complete()
        if is_complete and now - last > QUIET_SECONDS:
            return last
        if now - last > _NO_PROGRESS_SECONDS:
            raise BenchmarkError(f"nothing written for {_NO_PROGRESS_SECONDS:.0f} s, but not everything is there")
