"""The HTTP service and the sweeper, both Python programs of this checkout."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local.home import Home
from deploy.local.ports import HOST
from deploy.local.server import Server, answers
from deploy.local.supervision import Program, Supervisor


def api_server(home: Home, port: int, environment: Mapping[str, str]) -> Server:
    """Describe the service under gunicorn, listening on `port`; `environment` is what `stack.env` holds."""
    metrics = home.path / "api" / "metrics"
    return Server(
        program=Program(
            name="api",
            argv=(
                str(Path(sys.executable).with_name("gunicorn")),
                "-c",
                "recsvc/gunicorn_conf.py",
                "recsvc.wsgi:app",
            ),
            env={**environment, "API_BIND": f"{HOST}:{port}", "PROMETHEUS_MULTIPROC_DIR": str(metrics)},
            stop_patience=20,
        ),
        address=f"http://{HOST}:{port}",
        is_ready=lambda: answers(f"http://{HOST}:{port}/readyz"),
        before_start=lambda: metrics.mkdir(parents=True, exist_ok=True),
    )


def sweeper_server(home: Home, environment: Mapping[str, str]) -> Server:
    """Describe the sweeper, which carries a weights change over to the stored scores."""
    return Server(
        program=Program(name="sweeper", argv=(sys.executable, "-m", "recsvc.sweeper"), env=dict(environment)),
        address="",
        is_ready=lambda: _runs(home, "sweeper"),
    )


def _runs(home: Home, name: str) -> bool:
    """Return whether a program without an address has been up for the supervisor's start time."""
    state = Supervisor(home).states().get(name)
    return state is not None and state.state == "RUNNING"
