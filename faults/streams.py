"""S1 to S5: what happens to Flink and its Python workers."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import psutil

from deploy.local import Stack
from deploy.local.job import stop_with_savepoint
from faults.jobs import JobWatch, current_job, in_progress, start_checkpoint
from faults.patience import wait_until
from faults.run import Run, demand

TASKMANAGER_SECONDS = 20.0
CLUSTER_SECONDS = 60.0


def killed_taskmanager(run: Run) -> str:
    """S1: SIGKILL to the TaskManager at random moments, the last time inside a checkpoint."""
    times = run.choose(3, 1)
    with run.traffic.flowing():
        for turn in range(times):
            run.progress()
            inside = turn == times - 1
            if inside:
                _wait_inside_a_checkpoint(run)
            else:
                run.waits(0, 3)
            began = time.monotonic()
            run.stack.kill("taskmanager")
            run.recovered("SIGKILL of the TaskManager", began, TASKMANAGER_SECONDS)
    return f"SIGKILL of the TaskManager, {times} in all, the last inside a checkpoint"


def _wait_inside_a_checkpoint(run: Run) -> None:
    """Return while a checkpoint is in progress."""
    rest = run.stack.env["FLINK_REST"]
    wait_until("the job seen", lambda: current_job(rest))
    job = current_job(rest)
    start_checkpoint(rest, job)
    wait_until("a checkpoint in progress", lambda: in_progress(rest, job), pause=0.002)


def killed_jobmanager(run: Run) -> str:
    """S2: SIGKILL to the JobManager, then to JobManager and TaskManager at once."""
    done = []
    with JobWatch(run.stack.env["FLINK_REST"]) as watch:
        for servers in (("jobmanager",), ("jobmanager", "taskmanager"))[run.choose(0, 1) :]:
            with run.traffic.flowing(chunk=100):
                run.progress()
                run.waits(0, 2)
                began = time.monotonic()
                for server in servers:
                    run.stack.kill(server)
                run.recovered(f"SIGKILL of {' and '.join(servers)}", began, CLUSTER_SECONDS)
            done.append(" and ".join(servers))
    run.must(f"{watch.most_at_once} jobs at once", watch.most_at_once == 1)
    return f"SIGKILL of {', then of '.join(done)}; the job went on from its checkpoint"


def killed_python_worker(run: Run) -> str:
    """S3: SIGKILL to one Python worker of the job, the TaskManager lives on."""
    times = run.choose(3, 1)
    before = run.stack.pid("taskmanager")
    with run.traffic.flowing():
        for _ in range(times):
            run.progress()
            run.waits(0, 2)
            victim = run.random.choice(python_workers(run.stack))
            began = time.monotonic()
            victim.kill()
            run.recovered("SIGKILL of a Python worker", began)
    run.note("the TaskManager lived on", run.stack.pid("taskmanager") == before)
    return f"SIGKILL of a Python worker {times} times"


def python_workers(stack: Stack) -> list[psutil.Process]:
    """Processes below the TaskManager that have none below them: these run the job's functions."""
    found: list[psutil.Process] = []

    def looked() -> bool:
        try:
            below = psutil.Process(stack.pid("taskmanager")).children(recursive=True)
            found[:] = [each for each in below if not each.children() and "python" in each.name()]
        except psutil.Error:
            found.clear()
        return bool(found)

    wait_until("a Python worker", looked)
    return sorted(found, key=lambda each: each.pid)


def paused_taskmanager(run: Run) -> str:
    """S4: SIGSTOP to the TaskManager and its Python workers, for longer than the JobManager waits for it."""
    lengths = (10,) if run.quick else (10, 60)
    with run.traffic.flowing():
        for seconds in lengths:
            run.progress()
            run.note(f"{seconds} s: Python workers paused", _pause_with_workers(run.stack, seconds))
            run.recovered(f"{seconds} s of SIGSTOP", time.monotonic())
    return f"SIGSTOP of the TaskManager and its Python workers for {' and '.join(map(str, lengths))} s, then SIGCONT"


def _pause_with_workers(stack: Stack, seconds: float) -> int:
    """Stop the TaskManager and its Python workers for some time, and give the number of the workers.

    It is the workers that write to Redis. They are let go first: so they write what they hold as if nothing had been,
    before the TaskManager hears that it was given up.
    """
    stopped = stack.kill("taskmanager", signal.SIGSTOP)
    workers: list[psutil.Process] = []
    try:
        workers = python_workers(stack)  # only now, since from now on there are no others
        for worker in workers:
            worker.suspend()
        time.sleep(seconds)
    finally:
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.resume()
        os.kill(stopped, signal.SIGCONT)
    return len(workers)


def rescaled(run: Run) -> str:
    """S5: stop with a savepoint and go on with another parallelism, twice; nothing is lost or counted twice."""
    home, rest = run.stack.home, run.stack.env["FLINK_REST"]
    users = {}
    for parallelism in (2, 1):
        with run.traffic.flowing():
            run.progress()
            savepoint = stop_with_savepoint(home, rest)
            demand("there was no job to stop", savepoint is not None)
            began = time.monotonic()
            settings = {**os.environ, "REWEIGH_PARALLELISM": str(parallelism)}
            Stack(home.path, environment=settings).up()
            run.recovered(f"going on with parallelism {parallelism}", began)
        run.compare()
        users[parallelism] = len(run.traffic.ledger.users)
    run.note("users compared at parallelism 2", users[2])
    return "stopped with a savepoint, parallelism 1 → 2 → 1, each time compared"
