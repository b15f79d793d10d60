"""A1 and A2: the archive's disk full, read-only, emptied; the archive killed while it writes."""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from deploy.local import Stack
from deploy.local.ports import free_port
from deploy.local.server import get
from deploy.local.supervision import Program, start_held
from faults.ledger import Ledger
from faults.patience import wait_until
from faults.run import Run, demand
from reweigh.archive.log import Log, Snapshot
from reweigh.archive.store import open_store
from reweigh.topic_source import end_offsets

_DISK_MB = 256
_THREE_DAYS = (1_690_000_000_000, 1_690_000_000_000 + 3 * 86_400_000)


class Archive:
    """`reweigh archive run` beside a stack, started and killed by the row."""

    def __init__(self, stack: Stack, folder: Path, flush_seconds: float = 0.5) -> None:
        self.folder, self._stack, self._port = folder / "disk" / "archive", stack, free_port()
        self._process: subprocess.Popen[str] | None = None
        self._environment = {
            **stack.env,
            "ARCHIVE_URL": str(self.folder),
            "ARCHIVE_STATE": str(folder / "state"),
            "ARCHIVE_FLUSH_SECONDS": str(flush_seconds),
            "ARCHIVE_METRICS_PORT": str(self._port),
        }

    @property
    def pid(self) -> int:
        """Process id of what runs, 0 when nothing does."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def start(self) -> None:
        """Start it; it ends with the row."""
        command = (sys.executable, "-m", "reweigh.cli", "archive", "run")
        program = Program(name="archive", argv=command, env=self._environment)
        self._process = start_held(program, self._stack.home.log / "archive.log")

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait for the end."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def failures(self) -> float:
        """How often a write has failed, by its own metric."""
        text = get(f"http://127.0.0.1:{self._port}/metrics")[1].decode()
        lines = (line for line in text.splitlines() if line.startswith("archive_write_failures_total "))
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def snapshot(self) -> Snapshot:
        """What its log says."""
        return Log(open_store(str(self.folder))).read()

    def visible_rows(self) -> list[dict[str, Any]]:
        """Read each file that stands under a final name, which fails unless it is whole."""
        return [row for file in sorted(self.folder.glob("year=*/**/*.parquet")) for row in _rows_of(file)]

    def caught_up(self) -> None:
        """Wait until everything that Kafka holds is committed."""
        types = self._stack.settings.event_types
        ends = end_offsets(self._stack.env["KAFKA_BOOTSTRAP"], {}, types.by_topic)
        wait_until("the archive has everything", lambda: self._read() >= sum(ends.values()), pause=0.3)

    def _read(self) -> int:
        last = self.snapshot().last
        return last.totals.read if last else 0


def _rows_of(file: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = pq.ParquetFile(file).read().to_pylist()
    except FileNotFoundError:  # a compaction was faster
        return []
    return found


@contextlib.contextmanager
def archiving(run: Run) -> Iterator[Archive]:
    """Start an archive with nothing in it; it is ended and removed at the end. Events are of few days meanwhile.

    Each day of each flush is a file: thousands of days would be a test of the disk.
    """
    folder = run.stack.home.path / f"archive-{run.row}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "disk").mkdir(parents=True)
    archive = Archive(run.stack, folder)
    before, run.traffic.times = run.traffic.times, _THREE_DAYS
    try:
        with _disk(folder / "disk"):
            archive.start()
            try:
                yield archive
            finally:
                archive.end(signal.SIGKILL)
    finally:
        run.traffic.times = before
        shutil.rmtree(folder, ignore_errors=True)


def must_equal_ledger(run: Run, archive: Archive) -> None:
    """Demand that the archive, at rest, is the ledger: each event once, every field that the ledger counts by."""
    archive.caught_up()
    archive.end(signal.SIGTERM)
    rows = archive.visible_rows()
    again, ledger = Ledger(catalogue=run.traffic.ledger.catalogue), run.traffic.ledger
    for row in rows:
        event = {
            "event_id": row["event_id"],
            "user_id": row["user_id"],
            "product_id": row["item_id"],
            "timestamp": row["timestamp_ms"],
            "tags": row["tags"],
        }
        again.book(event, row["event_type"])
    run.note("events in the archive", len(rows))
    run.must(f"{again.duplicates} events are archived twice", again.duplicates == 0)
    for what in ("applied", "users", "products", "tags", "purchases", "untagged"):
        run.must(f"the archive's {what} differ from the ledger's", getattr(again, what) == getattr(ledger, what))
    last = archive.snapshot().last
    dead = dict(last.totals.dead) if last else {}
    run.must(f"dead letters {dead} instead of {dict(ledger.dead)}", dead == dict(ledger.dead))


def refused_writes(run: Run) -> str:
    """A1: the disk full, read-only, the archive removed, while events flow and people ask."""
    with archiving(run) as archive:
        with run.traffic.flowing(chunk=100):
            _refuse(run, archive)
        must_equal_ledger(run, archive)
    return "disk full, read-only, archive removed"


def _refuse(run: Run, archive: Archive) -> None:
    wait_until("the archive's first commits", lambda: archive.snapshot().number > 2)
    normal = run.normal()
    run.note("normal: p95 ms", normal.p95_ms)
    faults: dict[str, Callable[[Archive], contextlib.AbstractContextManager[None]]] = {
        "full": _full,
        "read-only": _read_only,
    }
    for name, fault in faults.items():
        with run.reading() as asking:
            failures, pid = archive.failures(), archive.pid
            with fault(archive):
                wait_until(f"a write fails: {name}", lambda before=failures: archive.failures() > before)  # type: ignore[misc]
                stood_at = archive.snapshot().number
                time.sleep(run.choose(15, 4))
                run.must(f"{name}: something was written", archive.snapshot().number <= stood_at + 1)
                run.must(f"{name}: the archive's process ended", archive.pid == pid)
            began, found = time.monotonic(), asking.taken()
            wait_until(f"commits after {name}", lambda at=stood_at: archive.snapshot().number > at + 1)  # type: ignore[misc]
            run.note(f"{name}: commits again after s", time.monotonic() - began)
            run.recovered(name, began)
        run.must_serve(name, found, normal)
    began = time.monotonic()
    archive.folder.rename(archive.folder.with_name("removed"))
    shutil.rmtree(archive.folder.with_name("removed"))
    wait_until("an archive made anew", lambda: archive.snapshot().number > 0)
    archive.caught_up()
    run.note("removed: everything archived anew after s", time.monotonic() - began)
    run.progress()


def killed_while_writing(run: Run) -> str:
    """A2: SIGKILL at moments drawn by lot; every visible file opens each time."""
    times = run.choose(20, 5)
    with archiving(run) as archive:
        with run.traffic.flowing(chunk=400, pause_seconds=0.05):
            for _ in range(times):
                before = archive.snapshot().number
                wait_until("commits", lambda at=before: archive.snapshot().number > at + 1, pause=0.01)  # type: ignore[misc]
                run.waits(0, 1)
                archive.end(signal.SIGKILL)
                archive.visible_rows()
                archive.start()
        run.note("killed", times)
        must_equal_ledger(run, archive)
    return f"SIGKILL of the archive {times} times while it wrote"


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Make the folder a small disk of its own where that is allowed; elsewhere it stays a folder."""
    if not _mount("-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(folder)):
        yield
        return
    try:
        yield
    finally:
        subprocess.run(("umount", "-l", str(folder)), check=True)


def _mount(*arguments: str) -> bool:
    try:
        return subprocess.run(("mount", *arguments), capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _full(archive: Archive) -> Iterator[None]:
    """Leave no space on its disk, or, where it has none of its own, let its process write no byte to a file."""
    disk = archive.folder.parent
    if disk.is_mount():
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as out, contextlib.suppress(OSError):
            while out.write(bytes(4096)):
                pass
        yield
        filler.unlink()
        return
    process = psutil.Process(archive.pid)
    process.rlimit(psutil.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    yield
    process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextlib.contextmanager
def _read_only(archive: Archive) -> Iterator[None]:
    """Have its disk mounted read-only, or, where it has none of its own, take the right to write from its folders."""
    disk = archive.folder.parent
    if disk.is_mount():
        demand("the archive's disk can be mounted read-only", _mount("-o", "remount,ro", str(disk)))
        yield
        _mount("-o", "remount,rw", str(disk))
        return
    folders = [archive.folder, *(each for each in archive.folder.rglob("*") if each.is_dir())]
    for each in folders:
        each.chmod(0o555)
    yield
    for each in folders:
        each.chmod(0o755)
