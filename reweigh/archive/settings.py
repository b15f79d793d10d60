"""What the archive can be told. Each setting comes from the environment, else from where the addresses come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reccore.errors import SettingError
from reweigh.archive.schema import EVENTS, DataSet
from reweigh.settings import values_and_own

DEFAULT_URL: Final = "data/parquet/recommendation_events/"
DEFAULT_RATINGS_URL: Final = "data/parquet/ratings/"
DEFAULT_STATE: Final = "data/archive_state"


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """Where the archive and its index are, when a file is written, and where metrics are served (port 0: nowhere)."""

    url: str = DEFAULT_URL
    state: Path = Path(DEFAULT_STATE)
    flush_rows: int = 200_000
    flush_seconds: float = 5.0
    metrics_port: int = 0
    metrics_host: str = "127.0.0.1"


SETTINGS: Final = (
    "ARCHIVE_URL",
    "ARCHIVE_RATINGS_URL",
    "ARCHIVE_STATE",
    "ARCHIVE_FLUSH_ROWS",
    "ARCHIVE_FLUSH_SECONDS",
    "ARCHIVE_METRICS_PORT",
    "ARCHIVE_METRICS_HOST",
)


def read_archive_settings(env_file: Path | None = None, data_set: DataSet = EVENTS) -> ArchiveSettings:
    """Read those of one data set's archive. Raises :class:`SettingError` for a wrong value."""
    return archive_settings(values_and_own(env_file, SETTINGS), data_set)


def archive_settings(values: Mapping[str, str], data_set: DataSet = EVENTS) -> ArchiveSettings:
    """Read them from a mapping."""
    default, state = ArchiveSettings(), Path(values.get("ARCHIVE_STATE") or DEFAULT_STATE)
    key, url = ("ARCHIVE_URL", DEFAULT_URL) if data_set is EVENTS else ("ARCHIVE_RATINGS_URL", DEFAULT_RATINGS_URL)
    return ArchiveSettings(
        url=values.get(key) or url,
        state=state if data_set is EVENTS else state / data_set.name,
        flush_rows=_number(values, "ARCHIVE_FLUSH_ROWS", default.flush_rows, 1, 5_000_000),
        flush_seconds=_seconds(values, "ARCHIVE_FLUSH_SECONDS", default.flush_seconds),
        metrics_port=_number(values, "ARCHIVE_METRICS_PORT", default.metrics_port, 0, 65_535),
        metrics_host=values.get("ARCHIVE_METRICS_HOST") or default.metrics_host,
    )


def archive_url(data_set: DataSet) -> str:
    """Give the archive's place alone."""
    return read_archive_settings(data_set=data_set).url


def _number(values: Mapping[str, str], key: str, default: int, least: int, most: int) -> int:
    given = values.get(key) or str(default)
    if not given.isascii() or not given.isdigit() or not least <= int(given) <= most:
        raise SettingError(key, given, f"a whole number from {least} to {most}")
    return int(given)


def _seconds(values: Mapping[str, str], key: str, default: float) -> float:
    given = values.get(key) or str(default)
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 3_600:
        raise SettingError(key, given, "seconds from 0.1 to 3600")
    return seconds
