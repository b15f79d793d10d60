"""R1 and R2: Redis away, refusing, empty, or far."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from faults.patience import wait_until
from faults.proxy import ProxiedStack
from faults.readers import Readers
from faults.run import Run, demand
from faults.watching import Watching
from reweigh.replay import Replay
from reweigh.wish import Wish

LONGER_THAN_A_WRITER_WAITS = 7
"""Seconds: so a writer sends its batch again, not knowing whether it was written."""
AWAY_LONG_ENOUGH = 0.5
"""Seconds without Redis that nobody misses who asks all the time."""
NO_SERVER = ("127.0.0.1", "1")
"""Nobody listens there: a replica of nobody serves what it has and takes no writes."""


def lost_redis(run: Run) -> str:
    """R1: Redis killed, ended, paused, out of memory, a read-only replica, and emptied."""
    faults: dict[str, tuple[Callable[[Run], Iterator[None]], int]] = {
        "SIGSTOP": (_paused, run.choose(15, LONGER_THAN_A_WRITER_WAITS)),
        "SIGKILL": (_killed, run.choose(8, 4)),
        "SIGTERM": (_ended, run.choose(8, 4)),
        "out of memory": (_out_of_memory, run.choose(8, 4)),
        "read-only replica": (_replica, run.choose(8, 4)),
    }
    redis_answers = next(each.is_ready for each in run.stack.servers() if each.name == "redis")
    with run.traffic.flowing(chunk=100):
        run.progress()
        normal = run.normal()
        run.note("normal: p95 ms", normal.p95_ms)
        for name, (fault, seconds) in faults.items():
            run.progress()
            with run.reading() as asking:
                with Away(redis_answers) as away, contextmanager(fault)(run):
                    time.sleep(seconds)
                began = time.monotonic()
                found = asking.taken()
                run.recovered(name, began)
            run.must_serve(name, found, normal)
            run.note(f"{name}: Redis did not answer for s", away.seconds)
            run.note(f"{name}: degraded answers", found.degraded)
            # Killed or ended it may be back at once; out of memory or a replica it answers whoever reads.
            seen = name == "SIGSTOP" or away.seconds >= AWAY_LONG_ENOUGH
            run.must(f"{name}: no answer said that it is degraded", found.degraded > 0 or not seen)
    if run.quick:
        return ", ".join(faults)
    run.compare()
    _emptied(run)
    return f"{', '.join(faults)}, FLUSHALL and a replay"


class Away(Watching):
    """Asks a server all the time: ``seconds`` is the longest time without an answer."""

    def __init__(self, answers: Callable[[], bool]) -> None:
        super().__init__(pause=0.05)
        self.seconds = 0.0
        self._answers, self._answered = answers, time.monotonic()

    def look(self) -> None:
        """Ask once."""
        if self._answers():
            self._answered = time.monotonic()
        else:
            self.seconds = max(self.seconds, time.monotonic() - self._answered)


def _paused(run: Run) -> Iterator[None]:
    stopped = run.stack.kill("redis", signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(stopped, signal.SIGCONT)


def _killed(run: Run) -> Iterator[None]:
    gone = run.stack.kill("redis", signal.SIGKILL)
    yield
    run.another("redis", gone)


def _ended(run: Run) -> Iterator[None]:
    gone = run.stack.kill("redis", signal.SIGTERM)
    yield
    run.another("redis", gone)


def _out_of_memory(run: Run) -> Iterator[None]:
    run.redis.config_set("maxmemory", "1mb")
    try:
        yield
    finally:
        run.redis.config_set("maxmemory", "0")


def _replica(run: Run) -> Iterator[None]:
    run.redis.replicaof(*NO_SERVER)
    try:
        yield
    finally:
        run.redis.replicaof("NO", "ONE")


def _emptied(run: Run) -> None:
    """Remove everything, and have it counted anew beside the job that goes on."""
    with run.traffic.flowing(chunk=100), run.reading() as asking:
        run.progress()
        run.redis.flushall()
        run.waits(2, 3)
        began = time.monotonic()
        done = Replay(run.stack, Wish(), lambda _what, _done, _total: None, run.tell).run()
        run.recovered("FLUSHALL and a replay", began)
    run.note("FLUSHALL: new events waited s", done.waiting_seconds)
    found = asking.taken()
    run.must(f"FLUSHALL: {found.failed} of {found.answers} failed ({found.failures})", found.failed == 0)
    run.compare()


def far_redis(run: Run) -> str:
    """R2: latency, reset connections and sliced packets between Redis and everybody."""
    stack = run.stack
    demand("this row needs a stack whose Redis stands behind a proxy", isinstance(stack, ProxiedStack))
    assert isinstance(stack, ProxiedStack)
    toxics: dict[str, tuple[str, dict[str, int]]] = {
        "50 ms latency": ("latency", {"latency": 50}),
        "200 ms latency": ("latency", {"latency": 200, "jitter": 20}),
        "reset connections": ("reset_peer", {"timeout": 100}),
        "sliced packets": ("slicer", {"average_size": 64, "size_variation": 32, "delay": 50}),
    }
    with run.traffic.flowing(chunk=50):
        run.progress()
        normal = run.normal()
        run.note("normal: p95 ms", normal.p95_ms)
        for name, (kind, attributes) in toxics.items():
            with run.reading() as asking:
                with stack.proxy.toxic("redis", kind, attributes):
                    time.sleep(run.choose(15, 5))
                    run.note(f"{name}: connections to Redis", len(cast("list[object]", run.redis.client_list())))
                began, found = time.monotonic(), asking.taken()
                run.recovered(name, began)
            run.must_serve(name, found, normal)
            run.note(f"{name}: degraded answers", found.degraded)
            _served_again(run, name)
    return f"{', '.join(toxics)} between Redis and job, service, sweeper"


def _served_again(run: Run, name: str) -> None:
    """See that nothing is used up: every reader is served, and not from memory."""
    users = [f"user-{number}" for number in range(50)]
    with Readers(run.stack.env["API_URL"], users, True, 8, run.seed) as asking:
        wait_until(f"whole answers after {name}", lambda: _whole(asking), pause=0.5)


def _whole(asking: Readers) -> bool:
    found = asking.taken()
    return found.answers >= 8 and not found.failed and not found.degraded
