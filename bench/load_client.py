"""Load from one thread over a fixed number of connections: the next request goes out when the answer has arrived.

For machines without `wrk` and `redis-benchmark`; it costs more processor time than they do, so that the server comes
out somewhat slower.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.errors import BenchmarkError
from bench.report import median, quantile


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: answers a second, and milliseconds from request to whole answer; ``client`` names who asked."""

    client: str
    answers_a_second: float
    p50_ms: float
    p95_ms: float
    failed: int = 0


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    sent_at: float = 0.0
    received: bytes = b""


def ask(
    address: tuple[str, int],
    requests: Iterator[bytes],
    is_whole: Callable[[bytes], bool],
    is_good: Callable[[bytes], bool],
    *,
    connections: int,
    seconds: float,
) -> Load:
    """Ask as fast as answers come.

    Args:
        address: Host and port.
        requests: What to send, without end.
        is_whole: Whether these bytes are a whole answer.
        is_good: Whether a whole answer is a success.
        connections: How many are used at the same time.
        seconds: For how long.
    """
    selector = selectors.DefaultSelector()
    opened = [_Connection(socket.create_connection(address, timeout=10)) for _ in range(connections)]
    taken: list[float] = []
    failed = 0
    try:
        for connection in opened:
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            _send(connection, next(requests))
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            for key, _ in selector.select(1.0):
                connection = key.data
                data = connection.socket.recv(262_144)
                if not data:
                    raise BenchmarkError(f"{address[0]}:{address[1]} closed a connection")
                connection.received += data
                if is_whole(connection.received):
                    taken.append(time.perf_counter() - connection.sent_at)
                    failed += not is_good(connection.received)
                    _send(connection, next(requests))
        elapsed = now - began
    finally:
        selector.close()
        for connection in opened:
            connection.socket.close()
    milliseconds = [1000 * each for each in taken]
    return Load("bench", len(taken) / elapsed, median(milliseconds), quantile(milliseconds, 0.95), failed)


def _send(connection: _Connection, request: bytes) -> None:
    connection.received, connection.sent_at = b"", time.perf_counter()
    connection.socket.sendall(request)


def whole_http(received: bytes) -> bool:
    """Whether these bytes hold an HTTP answer with all of its body; the length must be given."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return len(body) >= int(value)
    raise BenchmarkError(f"an answer without Content-Length: {head[:200]!r}")


def good_http(received: bytes) -> bool:
    """Whether its status is 200."""
    return received[9:12] == b"200"


def whole_redis_array(received: bytes) -> bool:
    """Whether these bytes hold all texts of one flat Redis array."""
    line, end, rest = received.partition(b"\r\n")
    if not end:
        return False
    place = 0
    for _ in range(int(line[1:])):
        stop = rest.find(b"\r\n", place)
        if stop < 0:
            return False
        place = stop + 2 + int(rest[place + 1 : stop]) + 2
    return len(rest) >= place
