"""gunicorn's thread worker, with three differences.

Its own errors (a request that can't be parsed) are problem+json too; the workers share the connections
(:meth:`ProblemWorker.accept`); and a thread is given a request only once all of it is there, and not one more than can
be answered soon (:meth:`ProblemWorker.enqueue_req`).
"""

from __future__ import annotations

import html
import logging
import re
import selectors
import socket
import time
from contextlib import suppress
from functools import partial
from typing import Any, Final

from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

from recsvc.problems import PROBLEM_TYPE, problem_bytes
from recsvc.request_log import HEADER, new_request_id
from recsvc.whole_request import LARGEST_LOOK, awaits_continue, is_whole, never_refused, plain_length

log = logging.getLogger(__name__)

_TAGS = re.compile(r"<[^>]*>")
_COURTESY_SECONDS: Final = 0.0001
_MOST_COURTESY_SECONDS: Final = 0.001
_REQUEST_SECONDS: Final = 10.0
"""How long a request may take to arrive."""
_PARTING_SECONDS: Final = 2.0
_MOST_WAITING: Final = 64
"""Requests that wait for a thread of one worker; at 500 answers a second the last of them waits an eighth of one."""
_RETRY_LATER: Final = "Retry-After: 1\r\n"


def write_problem(
    sock: Any, status: int, reason: str, message: str, headers: str = "", connection: str = "close"
) -> None:
    """Answer in place of gunicorn's HTML page. ``headers`` are further lines, each with its end."""
    detail = _TAGS.sub("", html.unescape(message))[:200] or reason
    name = new_request_id()
    body = problem_bytes(status, detail, request_id=name)
    # A flood is told of by its metrics; a line for each refusal would only slow this loop.
    level = logging.DEBUG if status == 503 else logging.INFO
    log.log(level, "refused before it had a route", extra={"status": status, "request_id": name})
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: {connection}\r\n"
        f"Content-Type: {PROBLEM_TYPE}\r\nContent-Length: {len(body)}\r\n{HEADER}: {name}\r\n{headers}\r\n"
    )
    util.write_nonblock(sock, head.encode("latin-1") + body)


class ProblemWorker(ThreadWorker):  # type: ignore[misc]
    """The thread worker with that."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._submitted = 0

    def init_process(self) -> None:
        """Put the function in the place that gunicorn has for nothing but a constant."""
        util.write_error = write_problem
        # Not before the fork: each process counts in a file of its own, and the master's folder is not there yet.
        from recsvc.metrics import refused_requests

        self._count_refusal = refused_requests.inc
        super().init_process()

    def accept(self, listener: Any) -> None:
        """Leave a new connection to a worker that has fewer: wait a little for each one of one's own.

        All workers wake up for it, and whoever is running already would take it, and the next, and with kept-alive
        connections do all the work from then on while the others have none.
        """
        if self.nr_conns and self._submitted < 2 * self.cfg.threads:  # else there is no time to lose
            time.sleep(min(self.nr_conns * _COURTESY_SECONDS, _MOST_COURTESY_SECONDS))
        super().accept(listener)

    def enqueue_req(self, conn: Any) -> None:
        """Give a connection to a thread once its whole request has arrived; refuse it when too many wait already.

        A thread that reads from a slow client serves nobody else meanwhile, and few slow clients would take them all.
        So it is this loop that waits for a request, for all clients at once, without taking anything out of the socket:
        the kernel is asked to tell when there is more than was there. Runs in the worker's main thread only.
        """
        if conn.parser is not None and conn.parser.unreader.buf.getvalue():
            self._submit(conn)  # what was read ahead is in no socket any more
            return
        arrived = _look(conn.sock)
        if arrived == b"":
            self._close(conn)
        elif arrived is None or not is_whole(arrived):
            conn.timeout = time.monotonic() + _REQUEST_SECONDS
            self.pending_conns.append(conn)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._more_arrived, conn))
            _ask_for_more(conn, arrived or b"")
        elif self._is_full() and not never_refused(arrived):
            self._refuse(conn, plain_length(arrived))
        else:
            self._submit(conn)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Count the thread as free again, and keep the connection or part from the client."""
        self._submitted -= 1
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self._part(conn)
        else:
            super().finish_request(conn, fs)

    def _is_full(self) -> bool:
        return self._submitted >= int(self.cfg.threads) + _MOST_WAITING

    def _refuse(self, conn: Any, length: int | None) -> None:
        """Answer that there is too much to do.

        The connection stays if the request's ``length`` is known: to close it, and to take the one that the client
        opens next, costs this loop several times as much as the refusal.
        """
        self._count_refusal()
        stays = length is not None and self.alive
        try:
            if length is not None and stays:
                conn.sock.recv(length)
            write_problem(
                conn.sock, 503, "Service Unavailable", "too many requests at once", _RETRY_LATER,
                "keep-alive" if stays else "close",
            )  # fmt: skip
        except OSError:  # the client has gone, or does not read its answers
            stays = False
        if not stays:
            self._part(conn)
            return
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_client_socket_readable, conn))

    def _submit(self, conn: Any) -> None:
        conn.data_ready = True
        self._submitted += 1
        super().enqueue_req(conn)

    def _part(self, conn: Any) -> None:
        """Close the connection when the client has, or has had time to read the answer (RFC 9112, 9.6).

        gunicorn waits for that in this loop, two seconds for each client that keeps its end open, and serves nobody
        meanwhile.
        """
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            self._close(conn)
            return
        conn.timeout = time.monotonic() + _PARTING_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))

    def _drain(self, conn: Any, _sock: Any) -> None:
        try:
            more = conn.sock.recv(LARGEST_LOOK)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if more:
            return
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)
        self._close(conn)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    def _more_arrived(self, conn: Any, _sock: Any) -> None:
        arrived = _look(conn.sock) or b""
        # No more than was there, and yet there is something to tell: the client has gone, which the thread finds too.
        if len(arrived) > conn.arrived and not is_whole(arrived):
            _ask_for_more(conn, arrived)
            return
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)
        if arrived and len(arrived) == conn.arrived:
            self._submit(conn)
        else:
            self.enqueue_req(conn)


def _look(sock: Any) -> bytes | None:
    """Give what has arrived and leave it there; None: nothing yet, empty: the client has gone."""
    try:
        return bytes(sock.recv(LARGEST_LOOK, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _ask_for_more(conn: Any, arrived: bytes) -> None:
    conn.arrived = len(arrived)
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(arrived) + 1)
    if awaits_continue(arrived):
        with suppress(OSError):
            conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
