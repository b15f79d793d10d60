"""Keeps exactly one profile job on the local cluster: a supervised process that submits it when there is none.

Flink restarts a job whose TaskManager or Python worker dies. When the JobManager itself dies the job is gone with it;
then this process submits it again, from the newest retained checkpoint. A job that was submitted with other settings
than those of the stack it ends first, and that of a replay that was killed it ends too.
"""

from __future__ import annotations

import argparse
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path

from deploy.local.addresses import read_stack_env
from deploy.local.class_archive import write_archives
from deploy.local.cluster_jobs import JobState, Step, free_slots, list_jobs, next_step
from deploy.local.errors import StackError
from deploy.local.flink_distribution import flink_home
from deploy.local.flink_java import class_path
from deploy.local.home import Home
from deploy.local.job import is_outdated, is_stopped_on_purpose, retire, submit
from deploy.local.left_replay import end_left_replay
from deploy.local.settings import read_settings
from deploy.local.supervision import Supervisor
from recsvc.log_lines import begin_log

POLL_SECONDS = 1.0
STEADY_SECONDS = 60.0
WARM_SECONDS = 20.0

log = logging.getLogger("job_keeper")


def delays() -> Iterator[float]:
    """Yield the seconds to wait after each failure in a row: 1, 2, 4, … and then 30 for ever."""
    return chain((1.0, 2.0, 4.0, 8.0, 15.0), repeat(30.0))


def keep(home: Home) -> None:
    """Look at the cluster every second and submit the job when it is missing; never returns."""
    waiting, failures = delays(), 0
    submitted_at = -STEADY_SECONDS
    said = ""
    archiver = Archiver(home)
    while True:
        time.sleep(POLL_SECONDS)
        if is_stopped_on_purpose(home):
            said = _say(said, f"stopped on purpose; remove {home.job_stopped} to start it again")
            continue
        stack_env = read_stack_env(home)
        if not stack_env:
            said = _say(said, f"{home.stack_env} is missing; `make up` writes it")
            continue
        settings = read_settings(home, {})
        rest = stack_env["FLINK_REST"]
        _end_left_replay(home, rest)
        jobs = list_jobs(rest)
        step = next_step(jobs, free_slots(rest), settings.sizes.parallelism)
        if step is Step.NOTHING and is_outdated(home, stack_env, settings):
            said = _say(said, "the job was submitted with other settings")
            submitted_at = -STEADY_SECONDS  # it ends because we end it
            try:
                log.info(retire(home, stack_env, settings))
            except StackError as error:
                delay = next(waiting)
                log.warning("could not end it: %s; next attempt in %.0f s", error, delay)
                time.sleep(delay)
            continue
        if step is Step.NOTHING:
            if time.monotonic() - submitted_at > STEADY_SECONDS:
                waiting, failures = delays(), 0
            said = _say(said, f"the job exists: {jobs[0].identity}" if jobs else step.value)
            archiver.look(jobs or [])
            continue
        if step is Step.WAIT:
            said = _say(said, step.value)
            continue
        if time.monotonic() - submitted_at < STEADY_SECONDS:
            failures += 1
            delay = next(waiting)
            log.warning("the job ended soon after it was submitted; next attempt in %.0f s", delay)
            time.sleep(delay)
        log.info("submitting the job")
        try:
            log.info(submit(home, stack_env, settings, home.log / "job-submit.log", failures))
            submitted_at = time.monotonic()
        except StackError as error:
            failures += 1
            delay = next(waiting)
            log.error("%s; see %s; next attempt in %.0f s", error, home.log / "job-submit.log", delay)
            time.sleep(delay)
            submitted_at = -STEADY_SECONDS  # the wait is over already
        said = ""


class Archiver:
    """Has Flink's servers keep the classes that they have loaded, once the job has run for a while."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._running_since: float | None = None
        self._thread: threading.Thread | None = None

    def look(self, jobs: Sequence[JobState]) -> None:
        """Take note of whether the job runs; at the right moment begin to write, once."""
        if not any(job.is_running for job in jobs):
            self._running_since = None
            return
        now = time.monotonic()
        self._running_since = self._running_since or now
        if self._thread is None and now - self._running_since > WARM_SECONDS:
            self._thread = threading.Thread(target=self._write, name="archiver", daemon=True)
            self._thread.start()

    def _write(self) -> None:
        states = Supervisor(self._home).states()
        pids: dict[str, int] = {name: states[name].pid for name in ("jobmanager", "taskmanager") if name in states}
        try:
            for name in write_archives(self._home, class_path(flink_home()), pids):
                log.info("the next start of %s will be shorter: its classes are kept", name)
        except StackError as error:
            log.warning("%s", error)


def _end_left_replay(home: Home, rest: str) -> None:
    try:
        for identity in end_left_replay(home, rest):
            log.info("cancelled the job %s of a replay that was killed", identity)
    except StackError as error:
        log.warning("could not end the job of a replay that was killed, will try again: %s", error)


def _say(said: str, text: str) -> str:
    """Log `text` unless it was the last thing said."""
    if text != said:
        log.info(text)
    return text


def main() -> None:
    """Run until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    begin_log()
    keep(Home.at(parser.parse_args().home))


if __name__ == "__main__":
    main()
