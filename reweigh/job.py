"""`reweigh job`: the profile job of the local stack, stopped, resumed and rescaled by hand.

While nobody stops it, the stack's job keeper keeps it running; what these commands change it only carries out. In a
stack without the keeper (`STACK_JOB=none make up`) they submit the job themselves, and nobody does it again.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from deploy.local import Stack
from deploy.local.checkpoints import Restore, complete_checkpoints
from deploy.local.cluster_jobs import JobState, list_jobs
from deploy.local.errors import StackError
from deploy.local.flink import checkpoints_folder, savepoints_folder
from deploy.local.job import (
    build_archive,
    is_stopped_on_purpose,
    job_command,
    refuse_partial_counts,
    restore_from,
    stop_with_savepoint,
    submit,
)
from deploy.local.server import get_json
from deploy.local.settings import Settings, read_settings, remember_settings
from reweigh.errors import CommandError

_START_SECONDS: Final = 240.0
_SAVEPOINT_SECONDS: Final = 120.0


class JobControl:
    """The job of one local stack. Raises :class:`CommandError` for what can't be done."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._rest = stack.env["FLINK_REST"]

    def submit(self, *, anew: bool = False) -> str:
        """Start the job from its newest state, or from the first record of the topics where there is none.

        Args:
            anew: Start from the first record also where there is state, of a job with another shape, that can't be
                read, or where Kafka has deleted first records. Until the job has caught up, the profiles then show only
                what has been counted so far; what was deleted they never show.
        """
        self._refuse_second()
        with _translated():
            origin = self._origin(anew)
            self._start(anew=anew and origin is None)
        return self._running(origin)

    def resume(self, path: Path | None) -> str:
        """Start the job from the savepoint or checkpoint at ``path``, or from the newest."""
        self._refuse_second()
        with _translated():
            newest = restore_from(self._stack.home, self._settings)
            if path is None:
                if newest is None:
                    raise CommandError(
                        "there is no savepoint or checkpoint of a job with these event types: `reweigh replay` counts "
                        "the log anew beside what is stored, `reweigh job submit --anew` in its place"
                    )
                self._start()
                return self._running(newest)
            if not (path / "_metadata").is_file():
                raise CommandError(f"{path} is no complete savepoint or checkpoint: it has no file _metadata")
            chosen = Restore(path.resolve(), (path / "_metadata").stat().st_mtime_ns)
            self._start(chosen)
            return self._running(chosen)

    def stop(self) -> str:
        """Stop the job with a savepoint; nobody starts it before `submit`, `resume` or `make up`."""
        self._jobs()  # or it would say that there was none, and none would come with the JobManager
        with _translated():
            savepoint = stop_with_savepoint(self._stack.home, self._rest, _SAVEPOINT_SECONDS)
        return f"stopped with the savepoint {savepoint}" if savepoint else "there was no job"

    def rescale(self, parallelism: int) -> str:
        """Stop the job with a savepoint and let it go on with ``parallelism`` subtasks of each step."""
        home = self._stack.home
        chosen = {"REWEIGH_PARALLELISM": str(parallelism)}
        with _translated():
            read_settings(home, chosen)  # refuses more than there are slots
            before = next((job for job in self._jobs() if job.exists), None)
            stopped = is_stopped_on_purpose(home)
            if before is None and stopped:
                raise CommandError("the job is stopped: resume it first (`reweigh job resume`)")
            kept = self._stack.pid("job_keeper") and not stopped  # then the keeper replaces it
            if before is None and not kept:
                raise CommandError("there is no job: submit it first (`reweigh job submit`)")
            if before is not None and self._has(before, parallelism):
                remember_settings(home, chosen)  # another number may have been asked for that was not carried out yet
                return f"the job has {parallelism} subtasks of each step already"
            if kept:
                remember_settings(home, chosen)
                self._wait_until_running(other_than=before.identity if before else "")
            else:
                self._origin(anew=False)
                stop_with_savepoint(home, self._rest, _SAVEPOINT_SECONDS)
                remember_settings(home, chosen)
                self._wait_until_ended()
                self._start()
        return f"the job runs with {parallelism} subtasks of each step"

    def command(self) -> str:
        """Give the command line that would submit the job now, from its newest state."""
        stack = self._stack
        with _translated():
            restore = restore_from(stack.home, self._settings)
            return shlex.join(job_command(stack.env, self._settings, build_archive(stack.home), restore))

    def status(self) -> list[str]:
        """Describe the job in some lines."""
        jobs = self._jobs()
        if not jobs or not jobs[0].exists:
            stopped = (
                "stopped on purpose; `reweigh job resume` starts it" if is_stopped_on_purpose(self._stack.home) else ""
            )
            return [f"there is no job{': ' + stopped if stopped else ''}"]
        job = jobs[0]
        lines = [
            f"job          {job.identity}",
            f"state        {job.state}, {job.running} of {job.vertices} tasks running",
            f"since        {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(job.started_ms / 1000))}",
            f"parallelism  {max(self._parallelism(job), default=0)}",
        ]
        checkpoints = get_json(f"{self._rest}/jobs/{job.identity}/checkpoints")
        return lines + (_describe_checkpoints(checkpoints) if checkpoints else [])

    @property
    def _settings(self) -> Settings:
        """What the stack was started with, and the keeper submits with; not what this process's environment says."""
        return read_settings(self._stack.home, {})

    def _origin(self, anew: bool) -> Restore | None:
        """From where the job would go on; None for the first record.

        Raises:
            CommandError: It would be the first record although there is state, and ``anew`` does not allow it.
            StackError: Likewise where Kafka has deleted first records.
        """
        home = self._stack.home
        origin = restore_from(home, self._settings)
        if origin is None and not anew:
            unreadable = complete_checkpoints(checkpoints_folder(home), savepoints_folder(home))
            if unreadable:
                raise CommandError(
                    f"{unreadable[0].path} is the state of a job with other event types, or of another version, which "
                    "this job can't read: `reweigh replay` counts the log anew beside what is stored, "
                    "`reweigh job submit --anew` in its place"
                )
            refuse_partial_counts(self._stack.env, self._settings)
        return origin

    def _start(self, restore: Restore | None = None, *, anew: bool = False) -> None:
        """Have the job go on from its newest state, from ``restore``, or count ``anew``, and wait until it runs."""
        home = self._stack.home
        keeper = self._stack.pid("job_keeper")
        if keeper and restore is None and not anew:
            home.job_stopped.unlink(missing_ok=True)
            self._wait_until_running()
            return
        if keeper:
            home.job_stopped.touch()  # it would take the newest one, and not count what is left of the log
        submit(home, self._stack.env, self._settings, home.log / "job-submit.log", restore=restore, anew=anew)
        self._wait_until_running()
        home.job_stopped.unlink(missing_ok=True)

    def _jobs(self) -> list[JobState]:
        jobs = list_jobs(self._rest)
        if jobs is None:
            raise CommandError(f"the JobManager at {self._rest} does not answer: `make up` starts or repairs the stack")
        return jobs

    def _refuse_second(self) -> None:
        for job in self._jobs():
            if job.exists:
                raise CommandError(f"the job exists already: {job.identity}, {job.state}")

    def _wait_until_running(self, other_than: str = "") -> None:
        deadline = time.monotonic() + _START_SECONDS
        parallelism = self._settings.sizes.parallelism
        while True:
            jobs = list_jobs(self._rest)
            if jobs and jobs[0].is_running and jobs[0].identity != other_than and self._has(jobs[0], parallelism):
                return
            if time.monotonic() > deadline:
                log = self._stack.home.log / "job-submit.log"
                raise CommandError(
                    f"the job does not run after {_START_SECONDS:.0f} s; see {log}. Where it says that state can't be "
                    "restored, `reweigh replay` counts the log anew"
                )
            time.sleep(0.3)

    def _wait_until_ended(self) -> None:
        deadline = time.monotonic() + _SAVEPOINT_SECONDS
        while any(job.exists for job in self._jobs()):
            if time.monotonic() > deadline:
                raise CommandError(f"the job has not ended {_SAVEPOINT_SECONDS:.0f} s after its savepoint")
            time.sleep(0.1)

    def _has(self, job: JobState, parallelism: int) -> bool:
        return parallelism in self._parallelism(job)

    def _parallelism(self, job: JobState) -> set[int]:
        """Give how many subtasks its steps have, which some have by their nature."""
        details = get_json(f"{self._rest}/jobs/{job.identity}") or {"vertices": []}
        return {vertex["parallelism"] for vertex in details["vertices"]}

    def _running(self, origin: Restore | None) -> str:
        return f"every task of the job is running, from {origin.path if origin else 'the first record of the topics'}"


def _describe_checkpoints(answer: dict[str, Any]) -> list[str]:
    lines = [f"checkpoints  {answer['counts']['completed']} completed, {answer['counts']['failed']} failed"]
    if newest := answer["latest"].get("completed"):
        age = time.time() - newest["latest_ack_timestamp"] / 1000
        size = newest["state_size"] / 1e6
        lines.append(f"newest       {newest['id']}, {age:.1f} s ago, {size:.1f} MB: {newest['external_path']}")
    if restored := answer["latest"].get("restored"):
        lines.append(f"gone on from {restored['external_path']}")
    return lines


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except StackError as exc:
        raise CommandError(str(exc)) from exc
