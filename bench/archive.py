"""Events a second into Parquet: the archive's own consumer beside Flink's file sink, over the same topics."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from bench import synthetic
from bench.errors import BenchmarkError
from bench.flink_runs import archive_job
from bench.report import Cell, Report, median, significant, spread
from bench.usage import cpu_seconds_between, usage_of
from bench.workbench import Workbench
from deploy.local.home import CHECKOUT, STACK_ID_VARIABLE
from deploy.local.ports import free_port
from deploy.local.server import answers, get

PARTS = ("zookeeper", "kafka", "redis", "flink")
RECORDS, RECORDS_QUICK = 1_000_000, 20_000
_SEED = 4
_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Written:
    """One run: what lies in files at its end, and what that took; the seconds begin when it runs."""

    events: int
    files: int
    bytes: int
    seconds: float
    cpu_seconds: float
    resident_bytes: int

    def rate(self, records: int) -> float:
        """Records a second."""
        return records / self.seconds


def measure(bench: Workbench) -> Report:
    """Fill the topics, and archive all of it from the first record: the consumer, then the file sink, in turns."""
    records = bench.size("records", RECORDS, RECORDS_QUICK)
    rounds = 1 if bench.quick else bench.rounds
    synthetic.produce(bench.kafka, records, _SEED)
    consumers, sinks = [], []
    for number in range(rounds):
        consumers.append(_consumer(bench, records, bench.stack.home.path / f"consumer-{number}"))
        bench.tell(f"the consumer: {consumers[-1].rate(records):,.0f} records/s")
        events = consumers[-1].events
        sinks.append(_file_sink(bench, events, bench.stack.home.path / f"sink-{number}"))
        bench.tell(f"Flink's file sink: {sinks[-1].rate(records):,.0f} records/s")
    return _report(records, consumers, sinks)


def _consumer(bench: Workbench, records: int, folder: Path) -> Written:
    """Run the command until it has read everything, and end it, which writes what is left."""
    port = free_port()
    environment = {
        **os.environ,
        STACK_ID_VARIABLE: bench.stack.home.stack_id,  # so that it ends with the stack
        "KAFKA_BOOTSTRAP": bench.kafka,
        "ARCHIVE_URL": str(folder / "archive"),
        "ARCHIVE_STATE": str(folder / "state"),
        "ARCHIVE_METRICS_PORT": str(port),
    }
    command = (sys.executable, "-m", "reweigh.cli", "archive", "run")
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stderr=subprocess.DEVNULL)
    most = [0]
    try:
        watched = psutil.Process(process.pid)

        def all_read() -> bool:
            most[0] = max(most[0], watched.memory_info().rss)
            return _processed(port) >= records

        bench.until("the consumer to answer", lambda: answers(f"http://127.0.0.1:{port}/metrics"), pause=0.01)
        began = time.perf_counter()
        bench.until("the consumer to read everything", all_read, _SECONDS)
        before = watched.cpu_times()
        process.send_signal(signal.SIGTERM)
        _, _, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = 0
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    cpu = max(used.ru_utime + used.ru_stime, before.user + before.system)
    return _written(folder / "archive", seconds, cpu, most[0])


def _processed(port: int) -> float:
    text = get(f"http://127.0.0.1:{port}/metrics")[1].decode()
    lines = (line for line in text.splitlines() if line.startswith("messages_processed_total{"))
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def _file_sink(bench: Workbench, events: int, folder: Path) -> Written:
    """Run the job until every event is in a file that is visible, which a file is once its checkpoint is complete."""
    folder.mkdir(parents=True)
    before = usage_of(bench.stack)
    with archive_job(bench, folder):
        began = time.perf_counter()
        bench.until("the file sink to write everything", lambda: _rows(folder) >= events, _SECONDS, 0.5)
        seconds = time.perf_counter() - began
        after = usage_of(bench.stack)
    used = cpu_seconds_between(before, after)
    parts = [part for part in used if part in ("jobmanager", "taskmanager", "python workers")]
    return _written(
        folder, seconds, sum(used[part] for part in parts), sum(after[part].resident_bytes for part in parts)
    )


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("year=*/month=*/day=*/*") if not file.name.startswith((".", "_"))]


def _rows(folder: Path) -> int:
    return sum(pq.ParquetFile(file).metadata.num_rows for file in _files(folder))


def _written(folder: Path, seconds: float, cpu_seconds: float, resident: int) -> Written:
    files = _files(folder)
    if not files:
        raise BenchmarkError(f"no file in {folder}")
    written = Written(_rows(folder), len(files), sum(f.stat().st_size for f in files), seconds, cpu_seconds, resident)
    shutil.rmtree(folder)
    return written


def _report(records: int, consumers: list[Written], sinks: list[Written]) -> Report:
    def row(name: str, value: Callable[[Written], float]) -> tuple[Cell, ...]:
        ours, theirs = median([value(each) for each in consumers]), median([value(each) for each in sinks])
        return name, significant(ours), significant(theirs), significant(ours / theirs)

    million = records / 1_000_000
    ours = [each.rate(records) for each in consumers]
    return Report(
        title=f"archive: {records:,} records, rounds: {len(consumers)}",
        columns=("", "consumer", "Flink's file sink", "ratio"),
        rows=(
            row("records/s (median)", lambda each: each.rate(records)),
            row("processor seconds per million", lambda each: each.cpu_seconds / million),
            row("resident memory, MiB", lambda each: each.resident_bytes / 2**20),
            row("files per million", lambda each: each.files / million),
            row("bytes per million", lambda each: each.bytes / million),
            row("events in files", lambda each: each.events),
        ),
        notes=(
            f"the consumer's rounds: {spread(ours)} records/s; it writes all columns, and keeps ids in SQLite",
            "the file sink: the profile job's own parsing and deduplication, then Parquet with snappy; its files hold "
            "no session, metadata, topic, offset; a checkpoint every five seconds, each of which ends a file",
            "both read everything from the first record on; timed from when the process answers, or every vertex of "
            "the job runs, to the last visible file; the processor time of the file sink is that of JobManager, "
            "TaskManager and Python workers",
        ),
        data={"consumer": [asdict(each) for each in consumers], "file_sink": [asdict(each) for each in sinks]},
    )
