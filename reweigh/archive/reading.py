"""Reading: what the log names, so that each event is there once, whatever a writer or a compaction is doing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reweigh.archive.errors import ArchiveError
from reweigh.archive.log import Log, Snapshot
from reweigh.archive.manifest import DataFile
from reweigh.archive.schema import DATA_SETS, EVENTS, DataSet, day_of, in_order
from reweigh.archive.settings import archive_url
from reweigh.archive.store import Store, open_store

_ATTEMPTS: Final = 20


def read_partition(
    year: int,
    month: int,
    day: int,
    *,
    columns: Sequence[str] | None = None,
    url: str | None = None,
    data_set: str = EVENTS.name,
) -> Any:
    """Give the events, or the ratings, of one event-time day (UTC) as a pandas DataFrame, in the order of time.

    ``columns`` are some of those of ``docs/data_dictionary.md``; default: all. ``data_set`` is ``events`` or
    ``ratings``. ``url`` is the archive; default: ``ARCHIVE_URL`` or ``ARCHIVE_RATINGS_URL``, else that of the local
    stack, else ``data/parquet/recommendation_events/`` or ``data/parquet/ratings/``. A day without any gives no rows.
    Raises :class:`~reweigh.archive.errors.ArchiveError` for a column, a day or a data set that can't be.
    """
    if data_set not in DATA_SETS:
        raise ArchiveError(f"data_set: {data_set}: there are {', '.join(DATA_SETS)}")
    try:
        wanted = date(year, month, day)
    except ValueError as exc:
        raise ArchiveError(f"year {year}, month {month}, day {day} is no date: {exc}") from exc
    store = open_store(url or archive_url(DATA_SETS[data_set]))
    return read_day(store, wanted, DATA_SETS[data_set], columns=columns).to_pandas()


def read_day(
    store: Store,
    day: date,
    data_set: DataSet = EVENTS,
    *,
    columns: Sequence[str] | None = None,
    user_id: str | None = None,
) -> pa.Table:
    """Give the rows of one day, or those of one user, in the order of time."""
    schema = data_set.schema
    names = list(columns) if columns is not None else schema.names
    unknown = [name for name in names if name not in schema.names]
    if unknown:
        raise ArchiveError(f"columns: {', '.join(unknown)}: there are {', '.join(schema.names)}")
    read = list(dict.fromkeys([*names, "timestamp_ms", *([] if user_id is None else ["user_id"])]))
    for _ in range(_ATTEMPTS):
        snapshot = Log(store).read()
        refuse_another(store, snapshot, data_set)
        files = files_of(snapshot, day)
        try:
            tables = [_read(store, file, read, user_id) for file in files]
        except FileNotFoundError:
            continue  # a compaction has taken it away, and the log names another by now
        if not tables:
            return pa.schema([schema.field(name) for name in names]).empty_table()
        return in_order(pa.concat_tables(tables), ["timestamp_ms"]).select(names)
    raise ArchiveError(f"{store.url} lacks files that its log names for {day}")


def refuse_another(store: Store, snapshot: Snapshot, data_set: DataSet) -> None:
    """Raise :class:`ArchiveError` for an archive that holds something else."""
    if snapshot.data_set not in (None, data_set):
        raise ArchiveError(f"{store.url} holds {snapshot.data_set.name}, not {data_set.name}")


def files_of(snapshot: Snapshot, day: date) -> list[DataFile]:
    """Give the files of a day."""
    return days_of(snapshot).get(day, [])


def days_of(snapshot: Snapshot) -> dict[date, list[DataFile]]:
    """Give all files by day, the earliest day first."""
    found: dict[date, list[DataFile]] = {}
    for path, file in sorted(snapshot.files.items()):  # paths sort as days do
        found.setdefault(day_of(path), []).append(file)
    return found


def rows_of(
    store: Store, day: date, data_set: DataSet, user_id: str | None, limit: int | None
) -> Iterator[dict[str, Any]]:
    """Give the rows of a day as dictionaries, at most ``limit``."""
    table = read_day(store, day, data_set, user_id=user_id)
    for batch in table.slice(0, limit).to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def _read(store: Store, file: DataFile, columns: Sequence[str], user_id: str | None) -> pa.Table:
    with opened(store, file) as source:
        parquet = pq.ParquetFile(source)
        if user_id is None:
            return parquet.read(columns=list(columns))
        batches = parquet.iter_batches(columns=list(columns))
        wanted = pc.field("user_id") == user_id
        found = [pa.Table.from_batches([batch]).filter(wanted) for batch in batches]
        return pa.concat_tables(found or [parquet.schema_arrow.empty_table().select(columns)])


def opened(store: Store, file: DataFile) -> IO[bytes]:
    """Open a file under its final name, or under the one that it has until its commit is settled."""
    try:
        return store.open(file.path)
    except FileNotFoundError:
        return store.open(file.staged)
