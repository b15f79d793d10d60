"""gunicorn's thread worker, whose own errors (a request that can't be parsed) are problem+json too.

And the workers share the connections: see :meth:`ProblemWorker.accept`.
"""

from __future__ import annotations

import html
import re
import time
from typing import Any, Final

from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

from recsvc.problems import PROBLEM_TYPE, problem_bytes

_TAGS = re.compile(r"<[^>]*>")
_COURTESY_SECONDS: Final = 0.0001
_MOST_COURTESY_SECONDS: Final = 0.001


def write_problem(sock: Any, status: int, reason: str, message: str) -> None:
    """Answer in place of gunicorn's HTML page."""
    detail = _TAGS.sub("", html.unescape(message))[:200] or reason
    body = problem_bytes(status, detail)
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\n"
        f"Content-Type: {PROBLEM_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    util.write_nonblock(sock, head.encode("latin-1") + body)


class ProblemWorker(ThreadWorker):  # type: ignore[misc]
    """The thread worker with that."""

    def init_process(self) -> None:
        """Put the function in the place that gunicorn has for nothing but a constant."""
        util.write_error = write_problem
        super().init_process()

    def accept(self, listener: Any) -> None:
        """Leave a new connection to a worker that has fewer: wait a little for each one of one's own.

        All workers wake up for it, and whoever is running already would take it, and the next, and with kept-alive
        connections do all the work from then on while the others have none.
        """
        if self.nr_conns:
            time.sleep(min(self.nr_conns * _COURTESY_SECONDS, _MOST_COURTESY_SECONDS))
        super().accept(listener)
