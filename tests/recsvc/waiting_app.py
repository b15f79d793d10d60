"""A WSGI application whose ``/wait`` answers once the file named by ``WAIT_FOR`` exists.

``/refused`` answers with how many requests its worker has refused.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import REGISTRY


def app(environ: dict[str, str], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answer with the path, or with that number."""
    if environ["PATH_INFO"] == "/wait":
        while not Path(os.environ["WAIT_FOR"]).exists():
            time.sleep(0.01)
    answer = environ["PATH_INFO"].encode()
    if environ["PATH_INFO"] == "/refused":
        answer = str(REGISTRY.get_sample_value("reweigh_refused_requests_total")).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
