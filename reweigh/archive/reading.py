"""Reading: what the log names, so that each event is there once, whatever a writer or a compaction is doing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from reweigh.archive.errors import ArchiveError
from reweigh.archive.log import Log, Snapshot
from reweigh.archive.manifest import DataFile
from reweigh.archive.schema import SCHEMA, day_of
from reweigh.archive.settings import archive_url
from reweigh.archive.store import Store, open_store

_ATTEMPTS: Final = 20


def read_partition(
    year: int, month: int, day: int, *, columns: Sequence[str] | None = None, url: str | None = None
) -> Any:
    """Give the events of one event-time day (UTC) as a pandas DataFrame, in the order of time.

    ``columns`` are some of those of ``docs/data_dictionary.md``; default: all. ``url`` is the archive; default:
    ``ARCHIVE_URL``, else that of the local stack, else ``data/parquet/recommendation_events/``. A day without events
    gives no rows. Raises :class:`~reweigh.archive.errors.ArchiveError` for a column or a day that can't be.
    """
    try:
        wanted = date(year, month, day)
    except ValueError as exc:
        raise ArchiveError(f"year {year}, month {month}, day {day} is no date: {exc}") from exc
    return read_day(open_store(url or archive_url()), wanted, columns=columns).to_pandas()


def read_day(store: Store, day: date, *, columns: Sequence[str] | None = None, user_id: str | None = None) -> pa.Table:
    """Give the events of one day, or those of one user, in the order of time."""
    names = list(columns) if columns is not None else SCHEMA.names
    unknown = [name for name in names if name not in SCHEMA.names]
    if unknown:
        raise ArchiveError(f"columns: {', '.join(unknown)}: there are {', '.join(SCHEMA.names)}")
    filters = None if user_id is None else [("user_id", "=", user_id)]
    read = list(dict.fromkeys([*names, "timestamp_ms"]))
    for _ in range(_ATTEMPTS):
        files = files_of(Log(store).read(), day)
        try:
            tables = [_read(store, file, read, filters) for file in files]
        except FileNotFoundError:
            continue  # a compaction has taken it away, and the log names another by now
        if not tables:
            return pa.schema([SCHEMA.field(name) for name in names]).empty_table()
        return pa.concat_tables(tables).sort_by("timestamp_ms").select(names)
    raise ArchiveError(f"{store.url} lacks files that its log names for {day}")


def files_of(snapshot: Snapshot, day: date) -> list[DataFile]:
    """Give the files of a day."""
    return days_of(snapshot).get(day, [])


def days_of(snapshot: Snapshot) -> dict[date, list[DataFile]]:
    """Give all files by day, the earliest day first."""
    found: dict[date, list[DataFile]] = {}
    for path, file in sorted(snapshot.files.items()):  # paths sort as days do
        found.setdefault(day_of(path), []).append(file)
    return found


def events_of(store: Store, day: date, user_id: str | None, limit: int | None) -> Iterator[dict[str, Any]]:
    """Give the rows of a day as dictionaries, at most ``limit``."""
    table = read_day(store, day, user_id=user_id)
    for batch in table.slice(0, limit).to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def _read(store: Store, file: DataFile, columns: Sequence[str], filters: Any) -> pa.Table:
    with opened(store, file) as source:
        return pq.read_table(source, columns=list(columns), filters=filters, partitioning=None)


def opened(store: Store, file: DataFile) -> IO[bytes]:
    """Open a file under its final name, or under the one that it has until its commit is settled."""
    try:
        return store.open(file.path)
    except FileNotFoundError:
        return store.open(file.staged)
