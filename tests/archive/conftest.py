"""A real Kafka with nothing in it, and the archive's process beside it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import psutil
import pytest
from moto.server import ThreadedMotoServer

from deploy.local import Stack
from deploy.local.ports import free_port
from deploy.local.server import get
from reweigh.archive.log import Log
from reweigh.archive.store import open_store
from tests.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
HOME = CHECKOUT / ".local" / "test-archive"


@pytest.fixture(scope="package")
def kafka() -> Iterator[Stack]:
    """Kafka in a home of its own, with a further event type and an archive as part of the stack; stopped at the end."""
    shutil.rmtree(HOME, ignore_errors=True)
    chosen = {"EXTRA_EVENT_TYPES": "wishlist:wishlist-events", "ARCHIVE_FLUSH_SECONDS": "0.5"}
    with Stack(HOME, ("kafka", "archive"), environment={**os.environ, **chosen}) as stack:
        yield stack


@pytest.fixture(scope="package")
def s3() -> Iterator[str]:
    """The URL of an empty bucket on a server that speaks S3, which is where fsspec and botocore look for one."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "anybody",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            environment.setenv(name, value)
        files = fsspec.filesystem("s3")
        files.mkdir("reweigh")
        yield "s3://reweigh"
    server.stop()


class Archive:
    """`reweigh archive run` as a process that can be killed and started again."""

    def __init__(self, stack: Stack, folder: Path, data_set: str = "events") -> None:
        self._data_set = data_set
        self.folder, self.metrics_port = folder / "archive", free_port()
        self.env = folder / "archive.env"
        self._log = folder / "archive.log"
        settings = {
            "KAFKA_BOOTSTRAP": stack.env["KAFKA_BOOTSTRAP"],
            "EXTRA_EVENT_TYPES": "wishlist:wishlist-events",
            "ARCHIVE_URL" if data_set == "events" else "ARCHIVE_RATINGS_URL": str(self.folder),
            "ARCHIVE_STATE": str(folder / "state"),
            "ARCHIVE_FLUSH_ROWS": "400",
            "ARCHIVE_FLUSH_SECONDS": "0.2",
            "ARCHIVE_METRICS_PORT": str(self.metrics_port),
        }
        self.env.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def chosen(self) -> tuple[str, str]:
        """The arguments that name the data set."""
        return ("--data-set", self._data_set)

    @property
    def process(self) -> psutil.Process:
        """The process that runs."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def start(self) -> None:
        """Start it."""
        self._begun = self._beginnings()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "reweigh.cli", "archive", "run", *self.chosen, "--env", str(self.env)),
                cwd=CHECKOUT,
                stderr=log,
            )

    def end(self, number: signal.Signals) -> int:
        """Send it a signal and wait for its end; gives its exit code. To be asked to end it must have begun."""
        assert self._process is not None
        if number != signal.SIGKILL:
            wait_until(lambda: self._beginnings() > self._begun, 60, what="it has begun")
        self._process.send_signal(number)
        code = self._process.wait(30)
        self._process = None
        return code

    def close(self) -> None:
        """Make sure that it has ended."""
        if self._process is not None:
            self.end(signal.SIGKILL)

    @property
    def commits(self) -> int:
        """Number of its last commit."""
        return Log(open_store(str(self.folder))).read().number

    def read_all(self, ends: int) -> None:
        """Wait until so many records are read and committed."""
        wait_until(lambda: self._read() >= ends, 120, what=f"{ends} records archived\n{self.said()}", pause=0.1)

    def _read(self) -> int:
        last = Log(open_store(str(self.folder))).read().last
        return last.totals.read if last else 0

    def _beginnings(self) -> int:
        return self._log.read_text().count("archiving to") if self._log.exists() else 0

    def said(self) -> str:
        """The end of what it logged."""
        return self._log.read_text()[-2000:] if self._log.exists() else ""

    def metric(self, name: str) -> float:
        """Ask for one metric; the first line that begins with the name."""
        text = get(f"http://127.0.0.1:{self.metrics_port}/metrics")[1].decode()
        return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)), 0.0)


@pytest.fixture
def archive(kafka: Stack, tmp_path: Path) -> Iterator[Archive]:
    """An archive that is not there yet, and whose process is not started."""
    made = Archive(kafka, tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def reweigh(archive: Archive) -> Callable[..., bytes]:
    """Run one command of the archive to its end and give its output."""

    def run(*arguments: str) -> bytes:
        command = (sys.executable, "-m", "reweigh.cli", "archive", *arguments, "--env", str(archive.env))
        return subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, timeout=120).stdout

    return run
