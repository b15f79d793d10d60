"""The service under gunicorn, with an environment of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Answer:
    """Status, and everything that came back, headers included, as text."""

    status: int
    text: str


@dataclass(frozen=True)
class Served:
    """A running service."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, path: str, method: str = "GET", body: object = None, **headers: str) -> Answer:
        """Make one request; ``X_API_Key`` is written ``X-API-Key``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            text = "".join(f"{name}: {value}\n" for name, value in answer.getheaders())
            return Answer(answer.status, text + answer.read().decode())
        finally:
            connection.close()

    def reload(self) -> None:
        """Have it read its settings anew."""
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def served(folder: Path, environment: Mapping[str, str]) -> Iterator[Served]:
    """Start one worker, wait until it answers, and end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    env = {**os.environ, **environment, "API_BIND": f"127.0.0.1:{port}", "API_WORKERS": "1"}
    env["PROMETHEUS_MULTIPROC_DIR"] = str(folder / "metrics")
    command = [str(Path(sys.executable).with_name("gunicorn")), "-c", "recsvc/gunicorn_conf.py", "recsvc.wsgi:app"]
    log = folder / "service.log"
    with log.open("w") as sink, subprocess.Popen(command, cwd=ROOT, env=env, stdout=sink, stderr=sink) as process:
        service = Served(port, process, log)
        try:
            wait_until(lambda: process.poll() is not None or alive(service), 60)
            assert process.poll() is None, log.read_text()
            yield service
        finally:
            process.terminate()
            process.wait(30)


def alive(service: Served) -> bool:
    """Whether it answers."""
    try:
        return service.ask("/livez").status == 200
    except OSError:
        return False
