"""What carries topics into Redis: `reweigh follow`, supervised."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from deploy.local.home import Home
from deploy.local.ports import HOST
from deploy.local.server import Server, get
from deploy.local.supervision import Program


def follower_server(home: Home, port: int, environment: Mapping[str, str]) -> Server:
    """Describe its process with its metrics on `port`; `environment` is what `stack.env` holds."""
    return Server(
        program=Program(
            name="follower",
            argv=(sys.executable, "-m", "reweigh.cli", "follow", "--env", str(home.stack_env)),
            env={"FOLLOW_METRICS_PORT": str(port), "FOLLOW_METRICS_HOST": HOST},
            configuration="\n".join(f"{key}={value}" for key, value in sorted(environment.items())),
            stop_patience=20,
        ),
        address=f"http://{HOST}:{port}/metrics",
        is_ready=lambda: get(f"http://{HOST}:{port}/metrics")[0] == 200,
    )
