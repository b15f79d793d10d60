"""More requests than can be answered soon, at a worker of a real gunicorn with one thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from select import select
from socket import socket

import pytest

from deploy.local.ports import free_port
from tests.waiting import wait_until

AT_ONCE = 65
"""Requests that a worker takes: one that has the thread and 64 that wait for it."""


@pytest.fixture
def door(tmp_path: Path) -> Path:
    """The file that ends all waiting."""
    return tmp_path / "door"


@pytest.fixture
def port(door: Path) -> Iterator[int]:
    """Where the worker listens."""
    chosen = free_port()
    command = (sys.executable, "-m", "gunicorn", "--worker-class", "recsvc.worker.ProblemWorker", "--threads", "1",
               "--workers", "1", "--bind", f"127.0.0.1:{chosen}", "--no-control-socket", "--keep-alive", "30",
               "tests.recsvc.waiting_app:app")  # fmt: skip
    process = subprocess.Popen(
        command, env={**os.environ, "WAIT_FOR": str(door)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _answers(chosen))
        yield chosen
    finally:
        door.touch()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_what_is_refused_keeps_its_connection(port: int, door: Path) -> None:
    """The refusal takes its request, body and all, and nothing of the next; later the connection is served again.

    Each refusal is counted.
    """
    with ExitStack() as opened:

        def ask(connection: HTTPConnection, path: str, body: bytes = b"", **headers: str) -> HTTPConnection:
            connection.request("POST", path, body=body, headers=headers)
            return connection

        def client() -> HTTPConnection:
            connection = HTTPConnection("127.0.0.1", port, timeout=20)
            opened.callback(connection.close)
            return connection

        asked = {
            each.sock: each for each in (ask(client(), "/wait", b"GET / HTTP/1.1\r\n\r\n") for _ in range(AT_ONCE + 3))
        }
        wait_until(lambda: len(_readable(asked)) == 3)
        refused = [asked.pop(sock) for sock in _readable(asked)]
        for connection in refused:
            for _ in range(3):
                sock = connection.sock
                assert _refusal(connection) == "keep-alive"
                assert ask(connection, "/late", b"GET / HTTP/1.1\r\n\r\n").sock is sock
            assert _refusal(connection) == "keep-alive"
        assert _refusal(ask(client(), "/late", Connection="close")) == "close"
        door.touch()
        assert {connection.getresponse().read() for connection in asked.values()} == {b"/wait"}
        for connection in refused:
            sock = connection.sock
            answer = ask(connection, "/again").getresponse()
            assert (answer.status, answer.read(), connection.sock) == (200, b"/again", sock)
        assert ask(client(), "/refused").getresponse().read() == b"13.0"


def _readable(sockets: Iterable[socket]) -> list[socket]:
    return select(list(sockets), [], [], 0)[0]


def _refusal(connection: HTTPConnection) -> str | None:
    answer = connection.getresponse()
    answer.read()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    return answer.headers["Connection"]
