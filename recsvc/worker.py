"""gunicorn's thread worker, whose own errors (a request that can't be parsed) are problem+json too."""

from __future__ import annotations

import html
import re
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

from recsvc.problems import PROBLEM_TYPE, problem_bytes

_TAGS = re.compile(r"<[^>]*>")


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
