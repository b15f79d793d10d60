"""Submitting jobs with ``flink run``, and ending them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchmarkError
from bench.workbench import Workbench
from deploy.local import StackError
from deploy.local.cluster_jobs import cancel_one, free_slots
from deploy.local.home import CHECKOUT
from deploy.local.jars import fetch_jars, jar_paths
from deploy.local.job import build_archive, job_command, run_client
from deploy.local.server import get_json

_START_SECONDS = 300.0
_PARQUET_LOCK = Path(__file__).with_name("jars.lock")


@contextmanager
def profile_job(bench: Workbench, options: Sequence[str] = ()) -> Iterator[str]:
    """Run the profile job from the first record of the topics, and give its id once all of it runs.

    Its settings are what they are for everybody, except for ``options``, which are added to its command line.
    """
    with _submitted(bench, (*_profile_command(bench), *options)) as identity:
        yield identity


@contextmanager
def textbook_job(bench: Workbench, topics: Sequence[str]) -> Iterator[str]:
    """Run the textbook job in the same way, at the same parallelism and checkpoint interval."""
    command = _profile_command(bench)
    sizes = bench.stack.settings.sizes
    arguments = (
        "--bootstrap", bench.kafka,
        "--redis-url", bench.redis_url(),
        "--topics", ",".join(topics),
        "--parallelism", str(sizes.parallelism),
        "--checkpoint-interval-ms", str(sizes.checkpoint_interval_ms),
    )  # fmt: skip
    script = str(CHECKOUT / "bench" / "textbook_job.py")
    with _submitted(bench, (*command[: command.index("-py")], "-py", script, *arguments)) as identity:
        yield identity


@contextmanager
def archive_job(bench: Workbench, folder: Path) -> Iterator[str]:
    """Run the job that writes Parquet to ``folder`` with Flink's file sink, for which it fetches jars of its own."""
    fetch_jars(bench.tell, lock=_PARQUET_LOCK)
    jars = [f"-C=file://{path}" for path in jar_paths("flink-parquet", lock=_PARQUET_LOCK)]
    command = list(_profile_command(bench))
    place = command.index("-py")
    command[place + 1] = str(CHECKOUT / "bench" / "archive_job.py")
    flags = [part for jar in jars for part in jar.split("=", 1)]
    with _submitted(bench, (*command[:place], *flags, *command[place:], str(folder))) as identity:
        yield identity


def _profile_command(bench: Workbench) -> tuple[str, ...]:
    return job_command(bench.stack.env, bench.stack.settings, build_archive(bench.stack.home), None)


@contextmanager
def _submitted(bench: Workbench, command: tuple[str, ...]) -> Iterator[str]:
    bench.tell("submitting the job")
    identity = _submit(bench, command)
    try:
        _wait_until_it_runs(bench, identity)
        bench.tell("the job runs")
        yield identity
    finally:
        _cancel(bench, identity)


def _submit(bench: Workbench, command: tuple[str, ...]) -> str:
    log = bench.stack.home.log / "bench-submit.log"
    log.unlink(missing_ok=True)
    try:
        run_client(bench.stack.home, command, log)
    except StackError as exc:
        raise BenchmarkError(f"{exc}:\n{log.read_text()[-2000:]}") from exc
    said = log.read_text()
    found = re.search(r"JobID ([0-9a-f]{32})", said)
    if not found:
        raise BenchmarkError(f"`flink run` told no id:\n{said[-2000:]}")
    return found[1]


def _wait_until_it_runs(bench: Workbench, identity: str) -> None:
    try:
        bench.until("all parts of the job to run", lambda: _runs(bench, identity), _START_SECONDS)
    except BenchmarkError as exc:
        raise BenchmarkError(f"{exc}\n{_what_is_wrong(bench, identity)}") from exc


def _runs(bench: Workbench, identity: str) -> bool:
    job = get_json(f"{bench.stack.addresses.flink_rest}/jobs/{identity}")
    if job is None:
        return False
    if job["state"] in ("FAILED", "CANCELED"):
        raise BenchmarkError(f"the job ended: {job['state']}; see {bench.stack.home.log}")
    return job["state"] == "RUNNING" and all(vertex["status"] == "RUNNING" for vertex in job["vertices"])


def _what_is_wrong(bench: Workbench, identity: str) -> str:
    """Say what the JobManager knows of a job that does not run."""
    address = f"{bench.stack.addresses.flink_rest}/jobs/{identity}"
    vertices = (get_json(address) or {}).get("vertices", [])
    failures = (get_json(f"{address}/exceptions") or {}).get("exceptionHistory", {}).get("entries", [])
    states = (f"{vertex['status']} {vertex['name']}" for vertex in vertices)
    return "\n".join((*states, *(failure["stacktrace"][:2000] for failure in failures)))


def _cancel(bench: Workbench, identity: str) -> None:
    """Cancel a job and wait until its slots are free and its Python workers gone."""
    rest, sizes = bench.stack.addresses.flink_rest, bench.stack.settings.sizes
    try:
        cancel_one(rest, identity)
    except StackError as exc:
        raise BenchmarkError(f"the job could not be cancelled: {exc}") from exc
    bench.until("the job's slots to be free", lambda: free_slots(rest) >= sizes.slots)
