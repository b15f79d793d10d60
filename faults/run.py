"""What every row is given: a running stack, its traffic and ledger, what to draw lots with, and where to report."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from deploy.local import Stack
from faults.at_rest import answer, compare_at_rest, wait_for_progress
from faults.errors import DoesNotHold
from faults.patience import PATIENCE_SECONDS, wait_until
from faults.readers import Readers, Reading
from faults.traffic import Traffic

Measure = str | int | float | bool | None
_NORMAL_SECONDS = 3.0
MOST_ABOVE_NORMAL_MS = 100.0


@dataclass
class Run:
    """One row on its way.

    Args:
        row: The row's name.
        stack: Started, with all parts.
        traffic: Events and their ledger.
        redis: A client that asks again while Redis is being restarted.
        seed: With the row's name all that is drawn by lot follows from it.
        quick: Whether the short form is wanted.
        soak_minutes: How long the soak lasts.
        tell: Is given each line about the progress.
    """

    row: str
    stack: Stack
    traffic: Traffic
    redis: redis.Redis
    seed: int
    quick: bool
    soak_minutes: float
    tell: Callable[[str], None]
    measured: dict[str, Measure] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.seed}-{self.row}")
        self.traffic.begin(self.row)
        self._probes = 0

    def must(self, what: str, holds: bool) -> None:
        """Note as broken what does not hold; the row goes on."""
        if not holds:
            self.broken.append(what)
            self.tell(f"{self.row}: does not hold: {what}")

    def in_time(self, what: str, seconds: float, at_most: float) -> None:
        """Note what took longer than the row allows; apart, for who can't go by a clock on a shared machine."""
        if seconds > at_most:
            self.late.append(f"{what} took {seconds:.3g} s, at most {at_most:g}")
            self.tell(f"{self.row}: late: {self.late[-1]}")

    def note(self, name: str, value: Measure) -> None:
        """Keep a measured value for the report."""
        self.measured[name] = round(value, 3) if isinstance(value, float) else value
        self.tell(f"{self.row}: {name} {self.measured[name]}")

    def choose(self, full: int, quick: int) -> int:
        """Give how often, or how long, in this form."""
        return quick if self.quick else full

    def waits(self, lowest: float, highest: float) -> None:
        """Let a time pass that is drawn by lot: a fault may come at any moment."""
        time.sleep(self.random.uniform(lowest, highest))

    def progress(self, events: int = 100) -> None:
        """Wait until the job has applied so many events more."""
        wait_for_progress(self.redis, events)

    def recovered(self, after: str, since: float, at_most_seconds: float = 0) -> None:
        """Send an event and wait until its score is in Redis; ``since`` is when the fault began or ended (monotonic).

        That contains all that came before this event. With a limit, which is for the time until every vertex of the job
        runs again, that time is measured too.
        """
        self._probes += 1
        user = f"probe-{self.row}-{self.seed}-{self._probes}"
        self.traffic.probe(user)
        if at_most_seconds:
            # On the TaskManager that there is now.
            ready = [each.is_ready for each in self.stack.servers() if each.name in ("taskmanager", "job_keeper")]
            wait_until("the job running again", lambda: all(each() for each in ready), pause=0.05)
            running = time.monotonic() - since
            self.note(f"{after}: the job runs again after s", running)
            self.in_time(f"{after}: the restart of the job", running, at_most_seconds)
        wait_until(f"an event counts again after {after}", lambda: self._exists(f"user:profile:{user}"), pause=0.05)
        seconds = time.monotonic() - since
        self.recoveries.append(seconds)
        self.tell(f"{self.row}: {seconds:.1f} s after {after} an event counts")

    def _exists(self, key: str) -> bool:
        try:
            return bool(self.redis.exists(key))
        except redis.RedisError:
            return False

    def another(self, server: str, gone: int) -> None:
        """Wait until a server runs as another process than ``gone`` and answers."""
        wait_until(f"another {server}", lambda: self.stack.pid(server) not in (0, gone))
        self.stack.wait_ready(server, PATIENCE_SECONDS)

    def compare(self) -> None:
        """Compare the whole of Redis in the middle of a row."""
        compare_at_rest(self.stack, self.redis, self.traffic.ledger)

    @contextmanager
    def reading(self, *, fresh_connections: bool = False, readers: int = 2) -> Iterator[Readers]:
        """Ask for recommendations all the time, over connections that are kept unless fresh ones are wanted."""
        users = [f"user-{number}" for number in range(50)]
        with Readers(self.stack.env["API_URL"], users, fresh_connections, readers, self.seed) as asking:
            yield asking

    def normal(self) -> Reading:
        """Ask for some seconds while nothing is broken."""
        with self.reading() as asking:
            time.sleep(_NORMAL_SECONDS)
        found = asking.taken()
        self.must(f"{found.failed} of {found.answers} requests failed while nothing was broken", found.failed == 0)
        return found

    def must_serve(self, during: str, found: Reading, normal: Reading) -> None:
        """Demand that every request was answered, none of them 5xx, and p95 within 100 ms of the normal."""
        self.note(f"{during}: answers", found.answers)
        self.note(f"{during}: p95 ms", found.p95_ms)
        self.must(f"{during}: nobody asked", found.answers > 0)
        self.must(f"{during}: {found.failed} of {found.answers} failed ({found.failures})", found.failed == 0)
        above = found.p95_ms - normal.p95_ms
        self.in_time(f"{during}: p95 above the normal", above / 1000, MOST_ABOVE_NORMAL_MS / 1000)

    def weights_in_force(self) -> int:
        """Version of the weights that the service names now."""
        return int(answer(self.stack, "/api/config/weights")["version"])

    def not_degraded(self) -> None:
        """Wait until every worker of the service has everything again."""
        quiet = 0

        def whole() -> bool:
            nonlocal quiet
            quiet = 0 if answer(self.stack, "/recommend/user-1")["degraded"] else quiet + 1
            return quiet >= 8

        wait_until("the service is whole again", whole, pause=0.02)


def client_of(url: str) -> redis.Redis:
    """Make a client that waits for a Redis that is being restarted or stands still."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=20,
        socket_connect_timeout=5,
        retry=Retry(ExponentialBackoff(cap=1, base=0.1), 20),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError, redis.exceptions.BusyLoadingError],
    )


def demand(what: str, holds: bool) -> None:
    """End the row when it can't go on."""
    if not holds:
        raise DoesNotHold(what)
