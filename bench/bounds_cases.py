"""The cases of the benchmark of bounds: each sends its events, or takes something away, and tells what is to come."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench import bounds_events, synthetic
from bench.bounds_events import Event
from bench.workbench import Workbench

_LEAD_SECONDS: Final = 10
_SLICE_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Sent:
    """What a case has sent: records, distinct events, those again for a recount, and since when they are digested."""

    records: int
    events: int
    again: Callable[[], Iterable[Event]]
    users_apart: bool
    since: float


Case = Callable[[Workbench], tuple[str, Sent]]


def hot_user(bench: Workbench) -> tuple[str, Sent]:
    """Send very many events of one user."""
    count = bench.size("hot_events", 1_000_000, 20_000)
    return f"a hot user, {count:,} events", _sent(bench, "hot", partial(bounds_events.hot_user, count), count)


def many_users(bench: Workbench) -> tuple[str, Sent]:
    """Send one event each of very many users."""
    count = bench.size("users", 1_000_000, 20_000)
    events = partial(bounds_events.many_users, count)
    return f"{count:,} users, one event each", _sent(bench, "users", events, count, users_apart=True)


def many_tags(bench: Workbench) -> tuple[str, Sent]:
    """Send events of one user with very many distinct tags."""
    count = bench.size("tags", 100_000, 5_000)
    events = partial(bounds_events.collector, count)
    return f"a user, {count:,} distinct tags", _sent(bench, "tags", events, sum(1 for _ in events()))


def redis_away(bench: Workbench) -> tuple[str, Sent]:
    """Take Redis away under load: half of the time it stands still, then it is not there at all."""
    seconds, rate = bench.size("away_seconds", 600, 20), bench.size("rate", 1_000, 200)
    redis, sender = bench.stack.supervisor, _Sender(bench.kafka, rate)
    with sender.sending():
        time.sleep(_LEAD_SECONDS)
        bench.tell("Redis stands still")
        bench.stack.kill("redis", signal.SIGSTOP)
        time.sleep(seconds / 2)
        bench.tell("Redis is stopped")
        redis.stop_program("redis")
        time.sleep(seconds / 2)
        redis.start_program("redis")
        since = time.perf_counter()
        bench.stack.wait_ready("redis")
        bench.tell("Redis is back")
    again = partial(bounds_events.various, "away", sender.sent)
    sent = Sent(sender.sent, sender.sent, again, users_apart=False, since=since)
    return f"Redis away for {seconds} s at {rate:,} events/s", sent


class _Sender:
    """Sends events at a steady rate, in a thread of its own."""

    def __init__(self, bootstrap: str, rate: int) -> None:
        self._bootstrap, self._rate = bootstrap, rate
        self._over = threading.Event()
        self.sent = 0

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send meanwhile; at the end all are acknowledged, or it raises ``BenchmarkError``."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            done = pool.submit(synthetic.send, self._bootstrap, self._paced())
            try:
                yield
            finally:
                self._over.set()
            done.result()

    def _paced(self) -> Iterator[synthetic.Record]:
        began = time.perf_counter()
        for record in bounds_events.records("away", bounds_events.various("away", sys.maxsize)):
            while self.sent >= (time.perf_counter() - began) * self._rate:
                if self._over.wait(_SLICE_SECONDS):
                    return
            self.sent += 1
            yield record


CASES: tuple[Case, ...] = (hot_user, many_users, many_tags, redis_away)


def _sent(
    bench: Workbench, name: str, events: Callable[[], Iterable[Event]], count: int, *, users_apart: bool = False
) -> Sent:
    since = time.perf_counter()
    synthetic.send(bench.kafka, bounds_events.records(name, events()))
    return Sent(count, count, events, users_apart, since)
