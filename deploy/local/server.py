"""What every server module of the stack gives: its programs and how to see that it answers."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from deploy.local.supervision import Program


@dataclass(frozen=True, kw_only=True)
class Server:
    """One line of `make status`: a program, where it listens (empty for nowhere), and whether it answers."""

    program: Program
    address: str
    is_ready: Callable[[], bool]
    before_start: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name


def get_json(url: str, seconds: float = 2.0) -> Any | None:
    """Return the JSON that `url` answers with status 200, or None for any other answer or none."""
    status, body = get(url, seconds)
    if status != http.client.OK:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None


def get(url: str, seconds: float = 2.0) -> tuple[int, bytes]:
    """Return status and body of a GET, status 0 when nothing answered within `seconds`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=seconds)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
