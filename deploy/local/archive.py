"""The archives: `reweigh archive run` for each data set, supervised. They touch nothing of the others'."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.local.home import Home
from deploy.local.server import Server, command_server


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
    command = ("archive", "run", "--data-set", data_set)
    return command_server(home, name, command, ("ARCHIVE", port), environment, stop_patience=30)
