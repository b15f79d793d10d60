"""Clients that hold a connection without ever finishing a request, all of them in one thread."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_REQUEST = (
    b"POST /update HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n" + b"{" * 400
)


@dataclass
class Opened:
    """How many are connected now."""

    connected: int = 0


@contextmanager
def slow_clients(address: tuple[str, int], number: int) -> Iterator[Opened]:
    """Hold so many connections: a third sends nothing, a third a head a byte a second, a third a body that slowly.

    Who is turned out comes again.
    """
    opened, over = Opened(), threading.Event()
    thread = threading.Thread(target=_crawl, args=(address, number, opened, over))
    thread.start()
    try:
        yield opened
    finally:
        over.set()
        thread.join()


@dataclass
class _Client:
    socket: socket.socket
    sent: int


def _crawl(address: tuple[str, int], number: int, opened: Opened, over: threading.Event) -> None:
    clients: dict[int, _Client] = {}
    with selectors.DefaultSelector() as selector:
        while not over.is_set():
            began = time.monotonic()
            for place in range(number):
                if place not in clients and not over.is_set():
                    with suppress(OSError):
                        clients[place] = _connect(address, place)
                        selector.register(clients[place].socket, selectors.EVENT_READ, place)
            for key, _ in selector.select(0):  # it was answered or turned out
                selector.unregister(key.fileobj)
                clients.pop(key.data).socket.close()
            for place, client in clients.items():
                if place % 3:
                    with suppress(OSError):
                        client.socket.send(_REQUEST[client.sent : client.sent + 1])
                        client.sent += 1
            opened.connected = len(clients)
            over.wait(max(0.05, 1 - (time.monotonic() - began)))
    for client in clients.values():
        client.socket.close()


def _connect(address: tuple[str, int], place: int) -> _Client:
    connection = socket.create_connection(address, timeout=2)
    connection.setblocking(False)
    sent = _REQUEST.index(b"\r\n\r\n") + 4 if place % 3 == 2 else 0
    if sent:
        connection.send(_REQUEST[:sent])
    return _Client(connection, sent)
