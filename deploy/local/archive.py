"""The archive: `reweigh archive run`, supervised. It touches nothing of the others, and nobody waits for it."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from deploy.local.home import Home
from deploy.local.ports import HOST
from deploy.local.server import Server, get
from deploy.local.supervision import Program


def archive_settings(home: Home) -> dict[str, str]:
    """Return where the archive of a home and the index beside it are, unless the settings say otherwise."""
    return {
        "ARCHIVE_URL": str(home.path / "data" / "parquet" / "recommendation_events"),
        "ARCHIVE_STATE": str(home.path / "archive"),
    }


def archive_server(home: Home, port: int, environment: Mapping[str, str]) -> Server:
    """Describe the archive's process with its metrics on `port`; `environment` is what `stack.env` holds."""
    return Server(
        program=Program(
            name="archive",
            argv=(sys.executable, "-m", "reweigh.cli", "archive", "run", "--env", str(home.stack_env)),
            env={"ARCHIVE_METRICS_PORT": str(port), "ARCHIVE_METRICS_HOST": HOST},
            configuration="\n".join(f"{key}={value}" for key, value in sorted(environment.items())),
            stop_patience=30,
        ),
        address=f"http://{HOST}:{port}/metrics",
        is_ready=lambda: get(f"http://{HOST}:{port}/metrics")[0] == 200,
    )
