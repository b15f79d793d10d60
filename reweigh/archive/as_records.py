"""What an archive holds, as the records that its events came in: an expression and a way to run it over all files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from reweigh.archive.log import Snapshot
from reweigh.archive.reading import opened, refuse_another
from reweigh.archive.schema import EVENTS
from reweigh.archive.store import Store
from reweigh.errors import CommandError

_ROWS_A_BATCH: Final = 50_000

EVENT_COLUMNS: Final = (
    "user_id", "item_id", "event_id", "event_type", "timestamp_ms", "tags", "session_id", "metadata",
)  # fmt: skip
# A time before 1973 in milliseconds would be read as seconds, so that is written out; metadata is the text as sent.
EVENT: Final = """
(json_object(
    'event_id', event_id, 'user_id', user_id, 'product_id', item_id, 'event_type', event_type, 'tags', tags,
    'timestamp', CASE WHEN timestamp_ms >= 100000000000 THEN to_json(timestamp_ms)
                 ELSE to_json(strftime(epoch_ms(timestamp_ms), '%Y-%m-%dT%H:%M:%S.%gZ')) END)::VARCHAR)[:-2]
|| CASE WHEN session_id IS NULL THEN '' ELSE ',"session_id":' || to_json(session_id)::VARCHAR END
|| CASE WHEN metadata IS NULL THEN '' ELSE ',"metadata":' || metadata END || '}'
"""
"""The JSON of an event as text, with all that was kept of it."""


def selected(
    store: Store, snapshot: Snapshot, database: duckdb.DuckDBPyConnection, columns: Sequence[str], query: str
) -> Iterator[pa.Table]:
    """Run a query over the table ``archived``, some columns of some rows of the archive, until all rows had their turn.

    Raises :class:`CommandError` when a file is gone, or the archive holds no events.
    """
    refuse_another(store, snapshot, EVENTS)
    for file in snapshot.files.values():
        try:
            source = opened(store, file)
        except FileNotFoundError as exc:
            raise CommandError(f"{file.path} of {store.url} is gone; was it compacted? Try again") from exc
        with source:
            for batch in pq.ParquetFile(source).iter_batches(_ROWS_A_BATCH, columns=list(columns)):
                database.register("archived", pa.Table.from_batches([batch]))
                yield database.sql(query).to_arrow_table()
                database.unregister("archived")
