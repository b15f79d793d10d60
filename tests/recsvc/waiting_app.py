"""A WSGI application whose ``/wait`` answers once the file named by ``WAIT_FOR`` exists."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path


def app(environ: dict[str, str], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answer with the path, and the body that came with the request."""
    if environ["PATH_INFO"] == "/wait":
        while not Path(os.environ["WAIT_FOR"]).exists():
            time.sleep(0.01)
    answer = environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
