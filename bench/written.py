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
    return sum(_calls(statistics, name) for name in _WRITES)


def plain_writes(client: Any) -> int:
    """Count the HSETs among them."""
    return _calls(client.info("commandstats"), "cmdstat_hset")


def profile_writes(client: Any) -> int:
    """Give a number that moves with each call that writes profiles, and not with those that write statistics.

    Both scripts look up the fence once a call; the one for profiles looks up a version and each user besides.
    """
    statistics = client.info("commandstats")
    return _calls(statistics, "cmdstat_hget") - _calls(statistics, "cmdstat_evalsha")


def _calls(statistics: Any, name: str) -> int:
    return int(statistics[name]["calls"]) if name in statistics else 0


def wait_for_last_write(client: Any, complete: Callable[[], bool], *, written: Callable[[Any], int] = writes) -> float:
    """Wait until ``complete`` and then until what ``written`` counts has been at rest for a second.

    Returns:
        When (``time.perf_counter()``) the last write was seen, 50 ms late at most.

    Raises:
        BenchmarkError: Nothing more is written, and it is not complete.
    """
    count, last = written(client), time.perf_counter()
    is_complete, completed = False, last
    while True:
        time.sleep(POLL_SECONDS)
        now, found = time.perf_counter(), written(client)
        if found != count:
            count, last = found, now
        if not is_complete and complete():
            is_complete, completed = True, now
        if is_complete and now - last > QUIET_SECONDS:
            return last
        if is_complete and now - completed > _NO_PROGRESS_SECONDS:
            raise BenchmarkError("everything is there, but the writing does not end")
        if now - last > _NO_PROGRESS_SECONDS:
            raise BenchmarkError(f"nothing written for {_NO_PROGRESS_SECONDS:.0f} s, but not everything is there")
