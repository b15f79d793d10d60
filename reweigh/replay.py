"""`reweigh replay`: everything counted anew from the complete log, beside the live system, which it then replaces.

A second job with a consumer group and checkpoints of its own writes into the Redis database beside the live one. Once
it has caught up, the live job is stopped, the second one is stopped with a savepoint, the databases are exchanged (one
command of Redis, for all its clients at once), and the live job goes on from that savepoint. Readers notice nothing
but the moment in between in which new events wait.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from deploy.local import Stack
from deploy.local.cluster_jobs import cancel, free_slots, list_jobs, stop_running
from deploy.local.errors import StackError
from deploy.local.job import submit, submit_beside, take_over
from deploy.local.second_taskmanager import SecondTaskManager
from deploy.local.settings import read_settings
from deploy.local.topics import create_topics
from flink_jobs.settings import MOST_PRODUCTS_PER_USER, MOST_TAGS_PER_USER
from reccore.job import JOB_NAME
from reweigh.databases import Databases
from reweigh.errors import CommandError, need
from reweigh.progress import Tell
from reweigh.rebuild_source import RebuildSource
from reweigh.rebuilt import Comparer, different_keys
from reweigh.topics import Topics

JOB: Final = "reweigh-replay"
_POLL_SECONDS: Final = 0.3
_STUCK_SECONDS: Final = 180.0
_SAVEPOINT_SECONDS: Final = 120.0
_START_SECONDS: Final = 180.0
_COVERED_AFTER_SECONDS: Final = 5.0
_CLOSE_BEHIND: Final = 5_000
"""Records: so close behind the end the live job may be stopped, since the rest takes a second or so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted.

    Args:
        check: Rebuild and compare, change nothing.
        database: The number of the Redis database to rebuild in; default: the one after the live one.
        keep: Leave the rebuilt database as it is, change nothing else.
        from_ms: Leave out records of an earlier Kafka time; only with ``check`` or ``keep``.
        archive: Where the archive is that has what Kafka does not hold any more; None: Kafka has to hold everything.
    """

    check: bool = False
    database: int | None = None
    keep: bool = False
    from_ms: int = 0
    archive: str | None = None


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
    left_out: int = 0
    """Records that arrived while it was compared: what they concern was left out."""


class Replay:
    """One rebuild on a local stack. Raises :class:`CommandError` when it can't be done; the live job then goes on."""

    def __init__(self, stack: Stack, wish: Wish, tell: Tell, say: Callable[[str], None]) -> None:
        self._stack, self._wish, self._tell, self._say = stack, wish, tell, say
        self._env, self._settings = stack.env, stack.settings
        self._rest, self._bootstrap = self._env["FLINK_REST"], self._env["KAFKA_BOOTSTRAP"]
        self._folder = stack.home.flink / "replay"
        self._helpers = ExitStack()
        """What the second job needs; it ends before the live job goes on."""
        self._first_seen = (time.monotonic(), 0)
        self._group = f"{JOB}-{int(time.time())}"
        self._topics = Topics(self._bootstrap)
        self._source = self._source_of(wish)
        self._dead_letters = f"{self._settings.dead_letter_topic}-{self._group}"
        if wish.from_ms and not (wish.check or wish.keep):
            raise CommandError("a part of the log can't replace the whole: give --check, or --keep with --database")

    def _source_of(self, wish: Wish) -> RebuildSource:
        if wish.archive is None:
            return RebuildSource(self._bootstrap, self._settings.topics, self._topics, wish.from_ms)
        with_archive = need("reweigh.archive_and_log", "archive").ArchiveAndLog
        source: RebuildSource = with_archive(
            self._bootstrap, self._settings.topics, self._topics, self._group, wish.archive
        )
        return source

    def run(self) -> Done:
        """Rebuild, and do with it what is wished."""
        try:
            with self._alone():
                done = self._run()
            if self._live_settings_differ:
                self._stack.up()  # the service and the sweeper have to know of the change, too
            return done
        except StackError as exc:
            raise CommandError(str(exc)) from exc

    def _run(self) -> Done:
        if create_topics(self._bootstrap, self._settings):  # of a further event type
            self._topics.wait_for_leaders(self._settings.topics)
        self._source.refuse_unless_complete()
        databases = Databases(self._env["REDIS_URL"], self._wish.database)
        with ExitStack() as afterwards:
            afterwards.callback(databases.close)
            self._end_earlier()
            databases.prepare()
            if not databases.has_catalogue:
                self._say("there is no catalogue in Redis: events that name no tags will have none")
            afterwards.callback(self._topics.delete_group, self._group)
            afterwards.callback(self._source.end)
            options = self._source.prepare(self._tell)
            afterwards.callback(self._topics.delete, [self._dead_letters])
            self._topics.create({self._dead_letters: 1})
            afterwards.enter_context(self._helpers)
            if free_slots(self._rest) < self._settings.sizes.parallelism:
                self._say("no free slot: starting a second TaskManager")
                self._helpers.enter_context(SecondTaskManager(self._stack, self._settings.sizes.parallelism))
            afterwards.callback(self._end_second_job)
            began = time.monotonic()
            before, _ = databases.weights_versions()
            self._submit(databases, options)
            records = self._wait_until_read(databases, None)
            ended = time.monotonic()
            first_at, first = self._first_seen
            done = Done(records, ended - began, (records - first) / max(ended - first_at, _POLL_SECONDS))
            if self._wish.check:
                differences, left_out = self._compare(databases, before)
                done = replace(done, differences=differences, left_out=left_out)
                databases.drop()
            elif self._wish.keep:
                self._stop_second_job(databases)
                databases.keep()
            else:
                done = replace(done, waiting_seconds=self._take_over(databases))
            return done

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of this home: never two rebuilds at once."""
        with (self._stack.home.flink / "replay.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise CommandError("another replay is under way on this stack") from exc
            yield

    @property
    def _live_settings_differ(self) -> bool:
        """Whether the rebuild has replaced the live one under other settings than the stack was started with."""
        replaced = not self._wish.check and not self._wish.keep
        return replaced and read_settings(self._stack.home, {}) != self._settings

    def _submit(self, databases: Databases, options: tuple[str, ...]) -> None:
        self._say(f"a second job counts the log anew into {databases.url_beside}")
        submit_beside(
            self._stack.home,
            {**self._env, "REDIS_URL": databases.url_beside},
            self._settings,
            (
                "--job-name", JOB,
                "--group-id", self._group,
                "--dead-letter-topic", self._dead_letters,
                "--checkpoint-dir", self._folder.as_uri(),
                "--catalog-database", str(databases.live_number),
                *options,
            ),
            self._stack.home.log / "replay-submit.log",
        )  # fmt: skip

    def _wait_until_read(self, databases: Databases, records: int | None) -> int:
        """Wait until so many records are read, or without a number, until it is close behind the end."""
        last, moved_at = -1, time.monotonic()
        while True:
            read, end = databases.read_by_rebuild(), self._source.records() if records is None else records
            self._tell("records counted anew", read, end)
            if end == 0 or (read >= (end - _CLOSE_BEHIND if records is None else end) and read > 0):
                return read
            if read != last:
                last, moved_at = read, time.monotonic()
                self._first_seen = self._first_seen if self._first_seen[1] else (moved_at, read)
            still = time.monotonic() - moved_at
            if still > _COVERED_AFTER_SECONDS and self._source.is_covered(self._group, self._source.reading.ends()):
                return read  # the rest of the offsets are no records, or older ones than were asked for
            if still > _STUCK_SECONDS:
                raise CommandError(
                    f"the second job has read {read:,} of {end:,} records and does not go on; see "
                    f"{self._stack.home.log / 'taskmanager.log'}"
                )
            time.sleep(_POLL_SECONDS)

    def _stop_second_job(self, databases: Databases) -> Path:
        """Let it read what there is by now, and stop it; Redis then holds all that its savepoint covers."""
        self._wait_until_read(databases, self._source.records())
        savepoint = stop_running(self._rest, _SAVEPOINT_SECONDS, JOB, self._folder)
        if savepoint is None:
            raise CommandError("the second job is gone; nothing was changed")
        self._wait_until(lambda: not _exists(self._rest, JOB), "the second job has ended")
        return savepoint

    def _compare(self, databases: Databases, weights_before: str | None) -> tuple[tuple[str, ...], int]:
        """Compare the two, but for what events concern that only the live job has seen."""
        ends = self._source.reading.ends()
        self._wait_until(
            lambda: self._source.is_covered(self._group, ends), "the second job has a checkpoint of all there was"
        )
        self._stop_second_job(databases)
        begin = self._source.log.committed(self._group)
        self._wait_until(lambda: self._source.is_covered(JOB_NAME, begin), "the live job has applied what was rebuilt")
        scores = {weights_before} == set(databases.weights_versions())
        handed_on = self._settings.handed_on
        comparer = Comparer(
            scores=scores,
            partial=bool(self._wish.from_ms),
            expiry=handed_on.get("TAG_EXPIRY_SECONDS", "0") != "0",
            most_tags=int(handed_on.get("MOST_TAGS_PER_USER", MOST_TAGS_PER_USER)),
            most_products=int(handed_on.get("MOST_PRODUCTS_PER_USER", MOST_PRODUCTS_PER_USER)),
        )
        if not scores:
            self._say("the weights have changed meanwhile: stored scores are not compared")
        return different_keys(databases, comparer, self._source.log, begin, self._settings.event_types)

    def _take_over(self, databases: Databases) -> float:
        home = self._stack.home
        self._say("stopping the live job")
        began = time.monotonic()
        with self._stack.alone():  # `make up` would start the live job again
            home.job_stopped.write_text(str(os.getpid()))
            try:
                try:
                    stop_running(self._rest, _SAVEPOINT_SECONDS)
                except StackError as exc:
                    self._say(f"{exc}; it is cancelled")
                    cancel(self._rest)
                self._wait_until(lambda: not _exists(self._rest), "the live job has ended")
                savepoint = self._stop_second_job(databases)
                self._helpers.close()
                databases.copy_what_is_kept()
                databases.swap()
                take_over(home, self._env, self._settings, savepoint)
                self._source.is_live = True
                self._say("the databases are exchanged")
            except BaseException:
                home.job_stopped.unlink(missing_ok=True)
                raise
        if self._live_settings_differ:
            return time.monotonic() - began  # the keeper has to be told of them first
        home.job_stopped.unlink(missing_ok=True)
        if self._stack.pid("job_keeper"):
            self._stack.wait_ready("job_keeper", _START_SECONDS)
        else:
            submit(home, self._env, self._settings, home.log / "job-submit.log")
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
