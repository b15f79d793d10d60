"""`reweigh replay`: everything counted anew from the complete log, beside the live system, which it then replaces.

A second job with a consumer group and checkpoints of its own writes into the Redis database beside the live one. Once
it has caught up, the live job is stopped, the second one is stopped with a savepoint, the databases are exchanged (one
command of Redis, for all its clients at once), and the live job goes on from that savepoint. Readers notice nothing
but the moment in between in which new events wait.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final, Protocol

from deploy.local import Stack
from deploy.local.cluster_jobs import cancel, free_slots, list_jobs, stop_running
from deploy.local.errors import StackError
from deploy.local.job import submit_beside, take_over
from deploy.local.second_taskmanager import SecondTaskManager
from reweigh.databases import Databases
from reweigh.errors import CommandError
from reweigh.kafka import delete_group, delete_topic, end_offsets, ensure_topic, first_offsets

JOB: Final = "reweigh-replay"
_POLL_SECONDS: Final = 0.3
_STUCK_SECONDS: Final = 180.0
_SAVEPOINT_SECONDS: Final = 120.0
_START_SECONDS: Final = 180.0
_TURNS: Final = 10
_CLOSE_BEHIND: Final = 5_000
"""Records: so close behind the end the live job may be stopped, since the rest takes a second or so."""


class Progress(Protocol):
    """What is told of the progress."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """So much of ``what`` is done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted.

    Args:
        check: Rebuild and compare, change nothing.
        database: The number of the Redis database to rebuild in; default: the one after the live one.
        keep: Leave the rebuilt database as it is, change nothing else.
        from_ms: Leave out records of an earlier Kafka time; only with ``check`` or ``keep``.
    """

    check: bool = False
    database: int | None = None
    keep: bool = False
    from_ms: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """What was done.

    Records counted by the time that the end was near, in how many seconds with the start of the second job, how many a
    second without it, and for how long new events waited at the exchange.
    """

    records: int
    seconds: float
    rate: float
    waiting_seconds: float = 0.0
    differences: tuple[str, ...] = ()


class Replay:
    """One rebuild on a local stack. Raises :class:`CommandError` when it can't be done; the live job then goes on."""

    def __init__(self, stack: Stack, wish: Wish, tell: Progress, say: Callable[[str], None]) -> None:
        self._stack, self._wish, self._tell, self._say = stack, wish, tell, say
        self._env, self._settings = stack.env, stack.settings
        self._rest = self._env["FLINK_REST"]
        self._folder = stack.home.flink / "replay"
        self._first_seen = (time.monotonic(), 0)
        self._group = f"{JOB}-{int(time.time())}"
        self._dead_letters = f"{self._settings.dead_letter_topic}-{self._group}"
        if wish.from_ms and not (wish.check or wish.keep):
            raise CommandError("a part of the log can't replace the whole: give --check, or --keep with --database")

    def run(self) -> Done:
        """Rebuild, and do with it what is wished."""
        try:
            return self._run()
        except StackError as exc:
            raise CommandError(str(exc)) from exc

    def _run(self) -> Done:
        self._refuse_unless_complete()
        databases = Databases(self._env["REDIS_URL"], self._wish.database)
        with ExitStack() as afterwards:
            afterwards.callback(databases.close)
            self._end_earlier()
            databases.prepare()
            afterwards.callback(self._end_second_job)
            afterwards.callback(delete_group, self._bootstrap, self._group)
            ensure_topic(self._bootstrap, self._dead_letters)
            afterwards.callback(delete_topic, self._bootstrap, self._dead_letters)
            if free_slots(self._rest) < self._settings.sizes.parallelism:
                self._say("no free slot: starting a second TaskManager")
                afterwards.enter_context(SecondTaskManager(self._stack, self._settings.sizes.parallelism))
            began = time.monotonic()
            self._submit(databases.url_beside)
            records = self._wait_until_read(databases, None)
            ended = time.monotonic()
            first_at, first = self._first_seen
            done = Done(records, ended - began, (records - first) / max(ended - first_at, _POLL_SECONDS))
            if self._wish.check:
                done = replace(done, differences=tuple(sorted(self._compare(databases))))
                databases.drop()
            elif self._wish.keep:
                self._wait_until_read(databases, self._end())
                databases.keep()
            else:
                done = replace(done, waiting_seconds=self._take_over(databases))
            return done

    @property
    def _bootstrap(self) -> str:
        return self._env["KAFKA_BOOTSTRAP"]

    def _refuse_unless_complete(self) -> None:
        gone = {topic: first for topic, first in first_offsets(self._bootstrap, self._settings.topics).items() if first}
        if gone and not self._wish.from_ms:
            raise CommandError(
                "the log is not complete: "
                + ", ".join(f"{topic} lacks its first {n:,} records" for topic, n in gone.items())
            )

    def _submit(self, redis_url: str) -> None:
        self._say(f"a second job counts the log anew into {redis_url}")
        submit_beside(
            self._stack.home,
            {**self._env, "REDIS_URL": redis_url},
            self._settings,
            (
                "--job-name", JOB,
                "--group-id", self._group,
                "--dead-letter-topic", self._dead_letters,
                "--checkpoint-dir", self._folder.as_uri(),
                "--start-from-ms", str(self._wish.from_ms),
            ),
            self._stack.home.log / "replay-submit.log",
        )  # fmt: skip

    def _wait_until_read(self, databases: Databases, records: int | None) -> int:
        """Wait until so many records are read, or without a number, until it is close behind the end."""
        last, moved_at = -1, time.monotonic()
        while True:
            read, end = databases.read_by_rebuild(), self._end() if records is None else records
            self._tell("records counted anew", read, end)
            if read >= (end - _CLOSE_BEHIND if records is None else end) and read > 0:
                return read
            if self._wish.from_ms and last == read and time.monotonic() - moved_at > 10:
                return read  # how many records there are of that time nobody knows
            if end == 0:
                return 0
            if read != last:
                last, moved_at = read, time.monotonic()
                self._first_seen = self._first_seen if self._first_seen[1] else (moved_at, read)
            if time.monotonic() - moved_at > _STUCK_SECONDS:
                raise CommandError(
                    f"the second job has read {read:,} of {end:,} records and does not go on; see "
                    f"{self._stack.home.log / 'taskmanager.log'}"
                )
            time.sleep(_POLL_SECONDS)

    def _end(self) -> int:
        return sum(end_offsets(self._bootstrap, self._settings.topics).values())

    def _compare(self, databases: Databases) -> set[str]:
        """Compare the two, again where they differ: two jobs apply the newest events at different moments."""
        self._wait_until_read(databases, self._end())
        different = databases.differences()
        for _ in range(_TURNS):
            if not different:
                break
            time.sleep(1.0)
            different = databases.differences(different)
        return different

    def _take_over(self, databases: Databases) -> float:
        home = self._stack.home
        self._say("stopping the live job")
        began = time.monotonic()
        home.job_stopped.touch()
        try:
            try:
                stop_running(self._rest, _SAVEPOINT_SECONDS)
            except StackError as exc:
                self._say(f"{exc}; it is cancelled")
                cancel(self._rest)
            self._wait_until(lambda: not _exists(self._rest), "the live job has ended")
            self._wait_until_read(databases, self._end())
            savepoint = stop_running(self._rest, _SAVEPOINT_SECONDS, JOB, self._folder)
            if savepoint is None:
                raise CommandError("the second job is gone; nothing was changed")
            self._wait_until(lambda: not _exists(self._rest, JOB), "the second job has ended")
            databases.copy_what_is_kept()
            take_over(home, self._env, self._settings, savepoint)
            databases.swap()
            self._say("the databases are exchanged")
        finally:
            home.job_stopped.unlink(missing_ok=True)
        self._stack.wait_ready("job_keeper", _START_SECONDS)
        return time.monotonic() - began

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _SAVEPOINT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise CommandError(f"not within {_SAVEPOINT_SECONDS:.0f} s: {what}")
            time.sleep(0.1)

    def _end_earlier(self) -> None:
        """End what an earlier rebuild has left that was interrupted."""
        self._end_second_job()
        self._folder.mkdir(parents=True)

    def _end_second_job(self) -> None:
        if _exists(self._rest, JOB):
            cancel(self._rest, JOB)
            self._wait_until(lambda: not _exists(self._rest, JOB), "the second job has ended")
        shutil.rmtree(self._folder, ignore_errors=True)


def _exists(rest: str, name: str | None = None) -> bool:
    jobs = list_jobs(rest, name) if name else list_jobs(rest)
    return jobs is None or any(job.exists for job in jobs)
