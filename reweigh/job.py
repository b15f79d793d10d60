"""`reweigh job`: the profile job of the local stack, stopped, resumed and rescaled by hand.

While nobody stops it, the stack's job keeper keeps it running; what these commands change it only carries out.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from deploy.local import Stack
from deploy.local.checkpoints import Restore
from deploy.local.cluster_jobs import JobState, list_jobs
from deploy.local.errors import StackError
from deploy.local.job import build_archive, job_command, restore_from, stop_with_savepoint, submit
from deploy.local.server import get_json
from deploy.local.settings import read_settings, remember_settings
from reweigh.errors import CommandError

_START_SECONDS: Final = 240.0
_SAVEPOINT_SECONDS: Final = 120.0


class JobControl:
    """The job of one local stack. Raises :class:`CommandError` for what can't be done."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._rest = stack.env["FLINK_REST"]

    def submit(self) -> str:
        """Start the job where it was stopped, from its newest state, or else from the first record of the topics."""
        self._refuse_second()
        with _translated():
            origin = restore_from(self._stack.home, self._stack.settings)
            self._stack.home.job_stopped.unlink(missing_ok=True)
            self._wait_until_running()
        return self._running(origin)

    def resume(self, path: Path | None) -> str:
        """Start the job from the savepoint or checkpoint at ``path``, or from the newest."""
        self._refuse_second()
        home, settings = self._stack.home, self._stack.settings
        with _translated():
            newest = restore_from(home, settings)
            if path is None:
                if newest is None:
                    raise CommandError(
                        "there is no savepoint or checkpoint of a job with these event types: `reweigh replay` counts "
                        "the log anew beside what is stored, `reweigh job submit` in its place"
                    )
                self._stack.home.job_stopped.unlink(missing_ok=True)
                self._wait_until_running()
                return self._running(newest)
            if not (path / "_metadata").is_file():
                raise CommandError(f"{path} is no complete savepoint or checkpoint: it has no file _metadata")
            chosen = Restore(path.resolve(), (path / "_metadata").stat().st_mtime_ns)
            home.job_stopped.touch()  # the job keeper would take the newest one
            submit(home, self._stack.env, settings, home.log / "job-submit.log", restore=chosen)
            self._wait_until_running()
            home.job_stopped.unlink(missing_ok=True)
            return self._running(chosen)

    def stop(self) -> str:
        """Stop the job with a savepoint; nobody starts it before `submit`, `resume` or `make up`."""
        with _translated():
            savepoint = stop_with_savepoint(self._stack.home, self._rest, _SAVEPOINT_SECONDS)
        return f"stopped with the savepoint {savepoint}" if savepoint else "there was no job"

    def rescale(self, parallelism: int) -> str:
        """Stop the job with a savepoint and let it go on with ``parallelism`` subtasks of each step."""
        home = self._stack.home
        chosen = {"REWEIGH_PARALLELISM": str(parallelism)}
        with _translated():
            read_settings(home, chosen)  # refuses more than there are slots
            before = self._jobs()
            remember_settings(home, chosen)
            self._wait_until_running(other_than=before[0].identity if before else "")
        return f"the job runs with {parallelism} subtasks of each step"

    def command(self) -> str:
        """Give the command line that would submit the job now, from its newest state."""
        stack = self._stack
        with _translated():
            restore = restore_from(stack.home, stack.settings)
            return shlex.join(job_command(stack.env, stack.settings, build_archive(stack.home), restore))

    def status(self) -> list[str]:
        """Describe the job in some lines."""
        jobs = self._jobs()
        if not jobs or not jobs[0].exists:
            stopped = (
                "stopped on purpose; `reweigh job resume` starts it" if self._stack.home.job_stopped.exists() else ""
            )
            return [f"there is no job{': ' + stopped if stopped else ''}"]
        job = jobs[0]
        lines = [
            f"job          {job.identity}",
            f"state        {job.state}, {job.running} of {job.vertices} tasks running",
            f"since        {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(job.started_ms / 1000))}",
            f"parallelism  {self._stack.settings.sizes.parallelism}",
        ]
        checkpoints = get_json(f"{self._rest}/jobs/{job.identity}/checkpoints")
        return lines + (_describe_checkpoints(checkpoints) if checkpoints else [])

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
        parallelism = self._stack.settings.sizes.parallelism
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

    def _has(self, job: JobState, parallelism: int) -> bool:
        details = get_json(f"{self._rest}/jobs/{job.identity}") or {"vertices": []}
        return any(vertex["parallelism"] == parallelism for vertex in details["vertices"])

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
