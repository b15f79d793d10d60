"""The archives: `reweigh archive run` for each data set, supervised. They touch nothing of the others'."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from deploy.local.home import Home
from deploy.local.ports import HOST
from deploy.local.server import Server, get
from deploy.local.supervision import Program


def archive_settings(home: Home) -> dict[str, str]:
    """Return where the archives of a home and the index beside them are, unless the settings say otherwise."""
    return {
        "ARCHIVE_URL": str(home.path / "data" / "parquet" / "recommendation_events"),
        "ARCHIVE_RATINGS_URL": str(home.path / "data" / "parquet" / "ratings"),
        "ARCHIVE_STATE": str(home.path / "archive"),
    }


def archive_servers(home: Home, ports: Mapping[str, int], environment: Mapping[str, str]) -> list[Server]:
    """Describe the processes for events and for ratings; `environment` is what `stack.env` holds."""
    return [
        _server(home, "archive", "events", ports["archive_metrics"], environment),
        _server(home, "archive_ratings", "ratings", ports["archive_ratings_metrics"], environment),
    ]


def _server(home: Home, name: str, data_set: str, port: int, environment: Mapping[str, str]) -> Server:
    argv = (sys.executable, "-m", "reweigh.cli", "archive", "run", "--data-set", data_set, "--env", str(home.stack_env))
    return Server(
        program=Program(
            name=name,
            argv=argv,
            env={"ARCHIVE_METRICS_PORT": str(port), "ARCHIVE_METRICS_HOST": HOST},
            configuration="\n".join(f"{key}={value}" for key, value in sorted(environment.items())),
            stop_patience=30,
        ),
        address=f"http://{HOST}:{port}/metrics",
        is_ready=lambda: get(f"http://{HOST}:{port}/metrics")[0] == 200,
    )
