"""`reweigh replay`: everything counted anew from the complete log, beside the live system, which it then replaces.

A second job with a consumer group and checkpoints of its own writes into the Redis database beside the live one, on a
cluster under other keys. Once it has caught up, the live job is stopped, the second one is stopped with a savepoint,
what is live and what was rebuilt are exchanged (databases by one command of Redis, for all its clients at once; keys
slot by slot), and the live job goes on from that savepoint. Readers notice nothing but the moment in between in which
new events wait.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from deploy.local import Stack
from deploy.local.cluster_jobs import cancel, free_slots, list_jobs, stop_running
from deploy.local.errors import StackError
from deploy.local.job import submit_beside
from deploy.local.second_taskmanager import SecondTaskManager
from deploy.local.settings import read_settings
from deploy.local.topics import create_topics
from flink_jobs.settings import MOST_PRODUCTS_PER_USER, MOST_TAGS_PER_USER
from reccore.job import JOB_NAME, REPLAY_JOB_NAME
from reweigh.beside import sides_of
from reweigh.errors import CommandError, need
from reweigh.live_job import SAVEPOINT_SECONDS, LiveJob
from reweigh.progress import Tell
from reweigh.rebuild_source import RebuildSource
from reweigh.rebuilt import Comparer, different_keys
from reweigh.sides import Sides
from reweigh.topics import Topics
from reweigh.wish import Done, Wish

FOR_THROUGHPUT: Final = (
    "--mini-batch-ms", "300",
    "--bundle-ms", "50",
    "--buffer-timeout-ms", "50",
    "--checkpoint-interval-ms", "10000",
)  # fmt: skip
"""Nobody waits for single events of the second job; the live one goes on from its savepoint by its own settings."""
_POLL_SECONDS: Final = 0.3
_STUCK_SECONDS: Final = 180.0
_COVERED_AFTER_SECONDS: Final = 5.0
_CLOSE_BEHIND: Final = 5_000
"""Records: so close behind the end the live job may be stopped, since the rest takes a second or so."""


def drop(stack: Stack, namespace: str | None) -> None:
    """Remove what an earlier replay was to keep on a cluster. Raises :class:`CommandError`."""
    if namespace is None:
        raise CommandError("--drop needs --namespace: which one is to be removed")
    with closing(sides_of(stack.env["REDIS_URL"], namespace=namespace)) as sides:
        if sides.unfinished() is not None:
            raise CommandError("an exchange was interrupted: `reweigh replay` has to finish it first")
        sides.drop()


class Replay:
    """One rebuild on a local stack. Raises :class:`CommandError` when it can't be done; the live job then goes on."""

    def __init__(self, stack: Stack, wish: Wish, tell: Tell, say: Callable[[str], None]) -> None:
        self._stack, self._wish, self._tell, self._say = stack, wish, tell, say
        self._env, self._settings = stack.env, stack.settings
        self._rest, self._bootstrap = self._env["FLINK_REST"], self._env["KAFKA_BOOTSTRAP"]
        self._live_job = LiveJob(stack, say, lambda: self._wait_until_gone("the live job has ended"))
        self._folder = stack.home.flink / "replay"
        self._helpers = ExitStack()
        """What the second job needs; it ends before the live job goes on."""
        self._first_seen = (time.monotonic(), 0)
        self._group = f"{REPLAY_JOB_NAME}-{int(time.time())}"
        self._topics = Topics(self._bootstrap)
        self._source = self._source_of(wish)
        self._live_settings_differ = self._replaces and read_settings(stack.home, {}) != self._settings
        """Whether the rebuild replaces the live one under other settings than the stack was started with."""
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
        """Rebuild, and do with it what is wished; where an exchange was interrupted, finish that first or instead."""
        try:
            with self._alone():
                done = self._run()
            if self._live_settings_differ:
                self._stack.up()  # the service and the sweeper have to know of the change, too
            return done
        except StackError as exc:
            raise CommandError(str(exc)) from exc

    def _run(self) -> Done:
        if (waiting := self._finish_earlier()) is not None and self._replaces:
            return Done(0, 0.0, 0.0, waiting, was_rebuilt_before=True)
        if create_topics(self._bootstrap, self._settings):  # of a further event type
            self._topics.wait_for_leaders(self._settings.topics)
        self._source.refuse_unless_complete()
        with self._sides() as sides, ExitStack() as afterwards:
            self._end_earlier()
            sides.prepare()
            if not sides.has_catalogue:
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
            before, *_ = sides.weights_versions()
            self._submit(sides, options)
            records = self._wait_until_read(sides, None)
            ended = time.monotonic()
            first_at, first = self._first_seen
            done = Done(records, ended - began, (records - first) / max(ended - first_at, _POLL_SECONDS))
            if self._wish.check:
                differences, left_out = self._compare(sides, before)
                done = replace(done, differences=differences, left_out=left_out)
                sides.drop()
            elif self._wish.keep:
                self._stop_second_job(sides)
                sides.keep()
            else:
                done = replace(done, waiting_seconds=self._take_over(sides))
            return done

    def _finish_earlier(self) -> float | None:
        """Finish or undo an exchange that was interrupted; gives the seconds if what was rebuilt then is live now."""
        with self._sides() as sides:
            savepoint, began = sides.unfinished(), time.monotonic()
            if savepoint is None:
                return None
            self._say("an earlier replay was interrupted in its exchange")
            with self._live_job.stopped():
                # Nothing is exchanged before the savepoint is the job's own.
                is_undone = not self._live_job.goes_on_from(savepoint) and sides.abandon()
                if not is_undone:
                    sides.finish(self._tell)
            self._live_job.start()
            self._say("it is undone" if is_undone else "it is finished")
            return None if is_undone else time.monotonic() - began

    def _sides(self) -> closing[Sides]:
        return closing(sides_of(self._env["REDIS_URL"], self._wish.database, self._wish.namespace))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of this home: never two rebuilds at once."""
        with self._stack.home.replay_lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise CommandError("another replay is under way on this stack") from exc
            yield

    @property
    def _replaces(self) -> bool:
        return not self._wish.check and not self._wish.keep

    def _submit(self, sides: Sides, options: tuple[str, ...]) -> None:
        self._say(f"a second job counts the log anew into {sides.place}")
        submit_beside(
            self._stack.home,
            {**self._env, "REDIS_URL": sides.job_url},
            self._settings,
            (
                "--job-name", REPLAY_JOB_NAME,
                "--group-id", self._group,
                "--dead-letter-topic", self._dead_letters,
                "--checkpoint-dir", self._folder.as_uri(),
                *FOR_THROUGHPUT,
                *sides.job_options,
                *options,
            ),
            self._stack.home.log / "replay-submit.log",
        )  # fmt: skip

    def _wait_until_read(self, sides: Sides, records: int | None) -> int:
        """Wait until so many records are read, or without a number, until it is close behind the end."""
        last, moved_at = -1, time.monotonic()
        while True:
            read, end = sides.read_by_rebuild(), self._source.records() if records is None else records
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

    def _stop_second_job(self, sides: Sides) -> Path:
        """Let it read what there is by now, and stop it; Redis then holds all that its savepoint covers."""
        self._wait_until_read(sides, self._source.records())
        savepoint = stop_running(self._rest, SAVEPOINT_SECONDS, REPLAY_JOB_NAME, self._folder)
        if savepoint is None:
            raise CommandError("the second job is gone; nothing was changed")
        self._wait_until_gone("the second job has ended", REPLAY_JOB_NAME)
        return savepoint

    def _compare(self, sides: Sides, weights_before: str | None) -> tuple[tuple[str, ...], int]:
        """Compare the two, but for what events concern that only the live job has seen."""
        ends = self._source.reading.ends()
        self._wait_until(
            lambda: self._source.is_covered(self._group, ends), "the second job has a checkpoint of all there was"
        )
        self._stop_second_job(sides)
        begin = self._source.log.committed(self._group)
        self._wait_until(lambda: self._source.is_covered(JOB_NAME, begin), "the live job has applied what was rebuilt")
        scores = {weights_before} == set(sides.weights_versions())
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
        return different_keys(sides, comparer, self._source.log, begin, self._settings.event_types)

    def _take_over(self, sides: Sides) -> float:
        began = time.monotonic()
        with self._live_job.stopped():
            savepoint = self._stop_second_job(sides)
            self._helpers.close()
            sides.begin(savepoint)
            self._live_job.goes_on_from(savepoint)
            self._source.is_live = True
            sides.finish(self._tell)
            self._say("what was rebuilt is live")
        if not self._live_settings_differ:  # else the servers may have to be told of them first
            self._live_job.start()
        return time.monotonic() - began

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SAVEPOINT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise CommandError(f"not within {SAVEPOINT_SECONDS:.0f} s: {what}")
            time.sleep(0.1)

    def _wait_until_gone(self, what: str, name: str = JOB_NAME) -> None:
        self._wait_until(lambda: not _exists(self._rest, name), what)

    def _end_earlier(self) -> None:
        """End what an earlier rebuild has left that was interrupted."""
        self._end_second_job()
        self._folder.mkdir(parents=True)

    def _end_second_job(self) -> None:
        if _exists(self._rest, REPLAY_JOB_NAME):
            cancel(self._rest, REPLAY_JOB_NAME)
            self._wait_until_gone("the second job has ended", REPLAY_JOB_NAME)
        shutil.rmtree(self._folder, ignore_errors=True)


def _exists(rest: str, name: str) -> bool:
    jobs = list_jobs(rest, name)
    return jobs is None or any(job.exists for job in jobs)
