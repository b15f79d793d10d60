"""Requests at a rate that does not wait for answers, as many people make them who know nothing of each other."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from bench.load_client import whole_http

_MOST_CONNECTIONS = 4_000
_GRACE_SECONDS = 10.0


@dataclass
class Flood:
    """What came of it: seconds of each good answer, of each refusal (429, 503), and requests without an answer."""

    good: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    failed: int = 0
    other: int = 0
    offered: int = 0
    seconds: float = 0.0
    """From the first request to the last answer."""


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    sent_at: float = 0.0
    received: bytes = b""


def offer(address: tuple[str, int], requests: Iterator[bytes], rate: float, seconds: float) -> Flood:
    """Send ``rate`` requests a second, each over a connection that is free or a new one."""
    flood, idle, busy = Flood(), list[_Connection](), set[int]()
    began = time.monotonic()
    with selectors.DefaultSelector() as selector:
        while (elapsed := time.monotonic() - began) < seconds + _GRACE_SECONDS:
            while elapsed < seconds and flood.offered < elapsed * rate:
                flood.offered += 1
                _send(selector, address, next(requests), idle, busy, flood)
            for key, _ in selector.select(0.002):
                _receive(selector, key.data, idle, busy, flood)
            if elapsed >= seconds and not busy:
                break
        flood.seconds = time.monotonic() - began
        flood.failed += len(busy)
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return flood


def _send(
    selector: selectors.BaseSelector,
    address: tuple[str, int],
    request: bytes,
    idle: list[_Connection],
    busy: set[int],
    flood: Flood,
) -> None:
    try:
        if idle:
            connection = idle.pop()
        elif len(busy) < _MOST_CONNECTIONS:
            connection = _Connection(socket.create_connection(address, timeout=1))
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        else:
            flood.failed += 1
            return
        connection.received, connection.sent_at = b"", time.monotonic()
        busy.add(id(connection))
        connection.socket.sendall(request)
    except OSError:
        flood.failed += 1


def _receive(
    selector: selectors.BaseSelector, connection: _Connection, idle: list[_Connection], busy: set[int], flood: Flood
) -> None:
    data = b""
    with suppress(OSError):
        data = connection.socket.recv(262_144)
    connection.received += data
    asked = id(connection) in busy
    if data and not (asked and whole_http(connection.received)):
        return
    if asked:
        busy.discard(id(connection))
        _book(connection, flood, whole=bool(data))
    if data and b"connection: close" not in connection.received[:400].lower():
        idle.append(connection)
        return
    if connection in idle:
        idle.remove(connection)
    selector.unregister(connection.socket)
    connection.socket.close()


def _book(connection: _Connection, flood: Flood, *, whole: bool) -> None:
    seconds = time.monotonic() - connection.sent_at
    status = connection.received[9:12]
    if not whole:
        flood.failed += 1
    elif status == b"200":
        flood.good.append(seconds)
    elif status in (b"429", b"503"):
        flood.refused.append(seconds)
    else:
        flood.other += 1
