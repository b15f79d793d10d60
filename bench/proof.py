"""How long it takes to prove that all is right, and to count everything anew beside the live job."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from bench import synthetic
from bench.errors import BenchmarkError
from bench.report import Cell, Report
from bench.workbench import Workbench
from bench.written import POLL_SECONDS, totals
from reweigh.replay import Replay
from reweigh.wish import Done, Wish

PARTS = ("zookeeper", "kafka", "redis", "flink", "api", "sweeper", "job")
RECORDS, RECORDS_QUICK = 5_000_000, 100_000
_SEED = 3
_SECONDS_A_RECORD = 1 / 500
_SHORTEST_SECONDS = 300.0
_VERIFY_SECONDS = 1_800.0


@dataclass(frozen=True, slots=True)
class Verified:
    """One run of the command: what it found, its seconds and the most memory that it held."""

    found: dict[str, Any]
    seconds: float
    most_resident_bytes: int


def measure(bench: Workbench) -> Report:
    """Let the job digest the topics, verify, replay, and verify again."""
    records = bench.size("records", RECORDS, RECORDS_QUICK)
    bench.tell(f"producing {records:,} records")
    synthetic.produce(bench.kafka, records, _SEED)
    job_rate = _digested(bench, records)
    bench.tell(f"the job: {job_rate:,.0f} records/s")
    before = _verify(bench)
    bench.tell(f"verify: {before.seconds:.0f} s, {len(before.found['differences'])} differences")
    replay = Replay(bench.stack, Wish(), lambda _what, _done, _total: None, bench.tell).run()
    bench.tell(f"replay: {replay.rate:,.0f} records/s")
    after = _verify(bench)
    return _report(records, job_rate, before, replay, after)


def _digested(bench: Workbench, records: int) -> float:
    """Wait until the job has read everything; give the records a second since its first totals."""
    with bench.redis() as client:
        first = bench.until("the job's first totals", lambda: totals(client).records_in, pause=POLL_SECONDS)
        began = time.perf_counter()
        patience = max(_SHORTEST_SECONDS, records * _SECONDS_A_RECORD)
        bench.until("the last record", lambda: totals(client).records_in >= records, patience, POLL_SECONDS)
        return (records - first) / (time.perf_counter() - began)


def _verify(bench: Workbench) -> Verified:
    command = (sys.executable, "-m", "reweigh.cli", "verify", "--env", str(bench.stack.home.stack_env))
    began, most = time.perf_counter(), 0
    process = subprocess.Popen((*command, "--output", "json"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            most = max(most, _resident(watched))
            if time.perf_counter() - began > _VERIFY_SECONDS:
                raise BenchmarkError(f"reweigh verify took longer than {_VERIFY_SECONDS:.0f} s")
            time.sleep(0.1)
        output, _ = process.communicate()
    finally:
        process.kill()
        process.wait()
    seconds = time.perf_counter() - began
    try:
        return Verified(json.loads(output), seconds, most)
    except ValueError as exc:
        raise BenchmarkError(f"reweigh verify failed with status {process.returncode}") from exc


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _report(records: int, job_rate: float, before: Verified, replay: Done, after: Verified) -> Report:
    rows: tuple[tuple[Cell, ...], ...] = (
        ("the job, from its first totals: records/s", round(job_rate)),
        ("verify: records/s", round(records / before.seconds)),
        ("verify: seconds", round(before.seconds, 1)),
        ("verify: most resident memory, MiB", round(before.most_resident_bytes / 2**20)),
        ("verify: fields compared", before.found["fields"]),
        ("verify: differences", len(before.found["differences"])),
        ("replay beside the live job: records/s", round(replay.rate)),
        ("replay ÷ the job", round(replay.rate / job_rate, 2)),
        ("replay: seconds that new events waited", round(replay.waiting_seconds, 1)),
        ("verify after the replay: differences", len(after.found["differences"])),
    )
    return Report(
        title=f"proof: {records:,} records of two tags each",
        columns=("", "value"),
        rows=rows,
        notes=(
            "verify: the whole command, with its start and with waiting for the checkpoint that covers the last record",
            "replay: the live job runs beside it, at rest",
        ),
        data={"job_rate": job_rate, "before": asdict(before), "replay": asdict(replay), "after": asdict(after)},
    )
