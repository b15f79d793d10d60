"""What every server module of the stack gives: its programs and how to see that it answers."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from deploy.local.home import Home
from deploy.local.ports import HOST
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


def command_server(
    home: Home,
    name: str,
    command: tuple[str, ...],
    metrics: tuple[str, int],
    environment: Mapping[str, str],
    stop_patience: int = 10,
) -> Server:
    """Describe a command of `reweigh` that reads `stack.env`, which holds `environment`, and has a metrics page.

    `metrics` is what the page's two settings begin with, and its port.
    """
    prefix, port = metrics
    url = f"http://{HOST}:{port}/metrics"
    return Server(
        program=Program(
            name=name,
            argv=(sys.executable, "-m", "reweigh.cli", *command, "--env", str(home.stack_env)),
            env={f"{prefix}_METRICS_PORT": str(port), f"{prefix}_METRICS_HOST": HOST},
            configuration="\n".join(f"{key}={value}" for key, value in sorted(environment.items())),
            stop_patience=stop_patience,
        ),
        address=url,
        is_ready=lambda: answers(url),
    )


def get_json(url: str, seconds: float = 2.0) -> Any | None:
    """Return the JSON that `url` answers with status 200, or None for any other answer or none."""
    status, body = get(url, seconds)
    if status != http.client.OK:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None


def answers(url: str) -> bool:
    """Return whether a GET is answered with status 200."""
    return get(url)[0] == http.client.OK


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
