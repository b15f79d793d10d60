"""What carries topics into Redis: `reweigh follow`, supervised."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.local.home import Home
from deploy.local.server import Server, command_server


def follower_server(home: Home, port: int, environment: Mapping[str, str]) -> Server:
    """Describe its process with its metrics on `port`; `environment` is what `stack.env` holds."""
    return command_server(home, "follower", ("follow",), ("FOLLOW", port), environment, stop_patience=20)
