"""A connection to each gunicorn worker: which worker holds a connection is known from the sockets of its process."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import orjson
import psutil

from bench.errors import BenchmarkError
from deploy.local import Stack

_MOST_CONNECTIONS = 200
_PATIENCE_SECONDS = 30.0


class WorkerConnection:
    """One connection that stays with the worker that took it."""

    def __init__(self, netloc: str, path: str) -> None:
        self._http = http.client.HTTPConnection(netloc, timeout=10)
        self._path = path
        self._http.connect()
        self.port = int(self._http.sock.getsockname()[1])

    def version(self) -> int:
        """Ask for recommendations and give the weights version that the answer names."""
        self._http.request("GET", self._path)
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != http.client.OK or answer.will_close:
            raise BenchmarkError(f"GET {self._path} answered {answer.status}, or closed the connection")
        return int(orjson.loads(body)["weights_version"])

    def first_newer(self, version: int) -> float:
        """Ask until an answer names a newer version, and give the time (``perf_counter``) at which it arrived."""
        deadline = time.perf_counter() + _PATIENCE_SECONDS
        while self.version() <= version:
            if time.perf_counter() > deadline:
                raise BenchmarkError(f"a worker still answers with version {version} after {_PATIENCE_SECONDS:.0f} s")
            time.sleep(0.001)
        return time.perf_counter()

    def close(self) -> None:
        """Close it."""
        self._http.close()


@contextmanager
def one_a_worker(stack: Stack, path: str) -> Iterator[dict[int, WorkerConnection]]:
    """Open connections until each worker holds one, and give them by the worker's pid.

    Raises:
        BenchmarkError: A worker took none of many.
    """
    master = psutil.Process(stack.pid("api"))
    workers = {child.pid: child for child in master.children()}
    netloc = urlsplit(stack.addresses.api_url).netloc
    found: dict[int, WorkerConnection] = {}
    spare: list[WorkerConnection] = []
    try:
        while workers.keys() - found.keys():
            if len(spare) > _MOST_CONNECTIONS:
                raise BenchmarkError(f"only {len(found)} of {len(workers)} workers took a connection")
            connection = WorkerConnection(netloc, path)
            connection.version()
            holder = _holder(workers, connection.port)
            if holder is None or holder in found:
                spare.append(connection)
            else:
                found[holder] = connection
        for connection in spare:
            connection.close()
        yield found
    finally:
        for connection in (*found.values(), *spare):
            connection.close()


def _holder(workers: dict[int, psutil.Process], port: int) -> int | None:
    for pid, process in workers.items():
        if any(each.raddr and each.raddr.port == port for each in process.net_connections("tcp")):
            return pid
    return None
