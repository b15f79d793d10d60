"""One verification from beginning to end, on a system that may be running."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol, Self

from reweigh.errors import CommandError
from reweigh.progress import Tell
from reweigh.verify.archived import ArchivedLog
from reweigh.verify.arrival import LeftToArrival, left_to_arrival
from reweigh.verify.compare import Comparer, Comparison
from reweigh.verify.log import EventLog, Place
from reweigh.verify.recount import Recount
from reweigh.verify.stored import Stored

_POLL_SECONDS: Final = 0.2
_STANDSTILL_SECONDS: Final = 12.0
"""Longer than the job takes from one checkpoint to the next, a rebuilding one too."""


class Weights(Protocol):
    """Where the weights in force are asked for."""

    def __call__(self) -> tuple[Mapping[str, float], int]:
        """Give the weights by event type, and their version."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is verified, and how patiently.

    Args:
        topics: Topic by event type, in the order of the stored counts.
        group: The consumer group under which the job commits its offsets.
        window_seconds: How long the job remembers an event id.
        tag_expiry_seconds: After how long without events a tag of a user is forgotten; 0: never.
        most_tags_per_user: How many tags of a user the job keeps in Redis.
        most_products_per_user: How many products of a user it keeps there with their events.
        metadata_numbers: Which numbers of the events' metadata it adds up with them.
        recent_events: How many of a user's newest events it keeps there.
        patience_seconds: How long the job may stand still before verifying gives up.
        rounds: How often what moved meanwhile is looked at again.
        every_record: Whether the log gives duplicates and dead letters too; else what they add up to is not compared.
        most_shown: How many of each kind are kept, of differences and of what is left to arrival.
    """

    topics: Mapping[str, str]
    group: str
    window_seconds: int
    tag_expiry_seconds: int = 0
    most_tags_per_user: int = 1_000
    most_products_per_user: int = 1_000
    metadata_numbers: Sequence[str] = ("duration_ms",)
    recent_events: int = 200
    patience_seconds: float = 90.0
    rounds: int = 3
    most_shown: int = 20
    every_record: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out: the last comparison, the recount's totals by name, and what the log leaves to arrival.

    Each of ``totals`` is the most that it may be; ``events`` is how many there are, each id once whatever its contents.
    """

    comparison: Comparison
    totals: Mapping[str, int]
    events: int
    arrival: LeftToArrival
    moving: bool
    weights_version: int
    seconds: float


class Verification:
    """Counts the log anew and compares. Raises :class:`CommandError` when that can't be done."""

    def __init__(self, plan: Plan, log: EventLog | ArchivedLog, stored: Stored, weights: Weights, tell: Tell) -> None:
        self._plan, self._log, self._stored, self._weights, self._tell = plan, log, stored, weights, tell

    def run(self) -> Outcome:
        """Verify; takes as long as the log is long."""
        began = time.monotonic()
        self._log.refuse_unless_complete()
        with (
            tempfile.TemporaryDirectory(prefix="reweigh-verify-") as folder,
            _recount(Path(folder), self._plan) as recount,
        ):
            read: dict[Place, int] = {}
            for turn in range(self._plan.rounds):
                read, comparison, moving, version = self._round(recount, read)
                if not moving and not comparison.differences:
                    break
                if not moving and turn > 0:
                    break
            return Outcome(
                comparison,
                dict(recount.database.sql("SELECT name, count FROM wanted_totals").fetchall()),
                _count(recount, "SELECT events FROM wanted_in_all"),
                left_to_arrival(recount.database, self._plan.most_shown),
                moving,
                version,
                time.monotonic() - began,
            )

    def _round(self, recount: Recount, read: Mapping[Place, int]) -> tuple[dict[Place, int], Comparison, bool, int]:
        """Compare once: with the events surely applied before Redis is read, and those possibly applied by then."""
        applied = self._log.ends()
        self._wait_until_applied(applied)
        weights, version = self._wait_until_swept()
        with _Aside(partial(self._stored.read_into, recount.database.cursor())) as reading:
            self._add(recount, read, applied)
            while not reading.is_done():
                self._tell("keys of Redis", *reading.progress)
        recount.know_catalogue(self._stored.catalogue())
        ends = self._log.ends()
        self._add(recount, applied, ends)
        recount.know_applied(self._log.places, applied)
        recount.count()
        comparison = Comparer(
            recount.database,
            recount.types,
            weights,
            self._plan.most_shown,
            numbers=recount.numbers,
            every_record=self._plan.every_record,
        ).compare()
        weights_moved = self._weights()[1] != version
        return ends, comparison, weights_moved or any(ends[place] > applied.get(place, 0) for place in ends), version

    def _add(self, recount: Recount, begin: Mapping[Place, int], end: Mapping[Place, int]) -> None:
        total = sum(upto - begin.get(place, 0) for place, upto in end.items())
        done = 0
        for records in self._log.read(begin, end):
            recount.add(records)
            done += len(records.table)
            self._tell("records", done, total)

    def _wait_until_applied(self, ends: Mapping[Place, int]) -> None:
        """Wait for a checkpoint that covers these records: a committed offset is applied.

        At the end of a partition there may be none to apply: a transaction's marker takes an offset too.
        """
        before, moved_at, looked = -1, time.monotonic(), False
        while True:
            committed = self._log.committed(self._plan.group)
            done = sum(min(committed.get(place, 0), upto) for place, upto in ends.items())
            total = sum(ends.values())
            self._tell("records applied by the job", done, total)
            if done >= total:
                return
            if done != before:
                before, moved_at, looked = done, time.monotonic(), False
            standstill = time.monotonic() - moved_at
            if standstill > _STANDSTILL_SECONDS and not looked:
                if not self._log.has_records(committed, ends):
                    return
                looked = True
            if standstill > self._plan.patience_seconds:
                raise CommandError(
                    f"the job has applied {done:,} of {total:,} records by the offsets that {self._plan.group} has "
                    "committed, and does not go on: `make status` shows whether it runs"
                )
            time.sleep(_POLL_SECONDS)

    def _wait_until_swept(self) -> tuple[Mapping[str, float], int]:
        """Wait until all stored scores are of the weights in force."""
        deadline = time.monotonic() + self._plan.patience_seconds
        while True:
            weights, version = self._weights()
            in_redis, swept = self._stored.weights_in_force()
            if in_redis == swept == version:
                return weights, version
            if time.monotonic() > deadline:
                raise CommandError(
                    f"weights version {version} is in force, but the writers have {in_redis} and stored scores "
                    f"{swept}: the service brings them in line; does it run?"
                )
            time.sleep(_POLL_SECONDS)


class _Aside:
    """Something done in a thread of its own, which tells how far it is; given up when the context is left early."""

    def __init__(self, action: Callable[[Callable[[int, int], None]], None]) -> None:
        self.progress = (0, 0)
        self._left = False
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._future = self._pool.submit(action, self._note)

    def is_done(self) -> bool:
        """Wait a moment, and say whether it is done; raises what it raised."""
        if not wait([self._future], _POLL_SECONDS).done:
            return False
        self._future.result()
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        self._pool.shutdown()

    def _note(self, done: int, total: int) -> None:
        if self._left:
            raise CancelledError
        self.progress = (done, total)


@contextmanager
def _recount(folder: Path, plan: Plan) -> Iterator[Recount]:
    recount = Recount(
        folder,
        plan.topics,
        window_ms=plan.window_seconds * 1000,
        expiry_ms=plan.tag_expiry_seconds * 1000,
        most_tags=plan.most_tags_per_user,
        most_products=plan.most_products_per_user,
        numbers=plan.metadata_numbers,
        recent_events=plan.recent_events,
    )
    try:
        yield recount
    finally:
        recount.close()


def _count(recount: Recount, statement: str) -> int:
    ((found,),) = recount.database.execute(statement).fetchall()
    return int(found)
