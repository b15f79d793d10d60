"""Where the events of a model are read: the archive, the topics, or files as `reweigh eval` reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from reccore.event_types import EventTypes
from reweigh.archive.as_records import selected
from reweigh.archive.log import Log
from reweigh.archive.store import Store
from reweigh.dataset import Dataset, data_files, read_dataset
from reweigh.errors import CommandError
from reweigh.progress import Tell
from reweigh.train.events import EventTable
from reweigh.verify.log import EventLog
from reweigh.verify.recount import Recount

_ROWS_A_BATCH: Final = 500_000

_ARCHIVED_COLUMNS: Final = ("user_id", "item_id", "event_type", "timestamp_ms", "tags")
_ARCHIVED: Final = """
SELECT user_id, item_id, code, timestamp_ms, tags FROM archived JOIN types ON archived.event_type = types.name
"""

# Of records with one identity one counts, whichever: the job takes the first that it reads.
_ONCE: Final = """
WITH repeated AS (SELECT identity FROM events GROUP BY identity HAVING count(*) > 1)
SELECT user_id, product_id, type, time_ms, tags FROM events ANTI JOIN repeated USING (identity)
UNION ALL
SELECT user_id, product_id, type, time_ms, tags FROM events SEMI JOIN repeated USING (identity)
QUALIFY row_number() OVER (PARTITION BY identity ORDER BY arrived, place, spot) = 1
"""


def read_archive(table: EventTable, store: Store, tell: Tell) -> None:
    """Read all events of an archive, which holds each once; types that are not configured are left out."""
    snapshot = Log(store).read()
    if not snapshot.number:
        raise CommandError(f"there is no archive at {store.url}: `reweigh archive run` makes one, --url names another")
    done, total = 0, sum(file.rows for file in snapshot.files.values())
    with duckdb.connect() as database:
        names = pa.table({"name": list(table.types), "code": pa.array(range(len(table.types)), pa.uint8())})
        database.register("types", names)
        for events in selected(store, snapshot, database, _ARCHIVED_COLUMNS, _ARCHIVED):
            table.add(events)
            done += len(events)
            tell("archived events", done, total)


def read_topics(table: EventTable, log: EventLog, topics: Mapping[str, str], folder: Path, tell: Tell) -> None:
    """Read what the topics hold, each event id once, by the reader of `reweigh verify`; bad records are left out."""
    ends = log.ends()
    begins = log.begins()
    done, total = 0, sum(ends.values()) - sum(begins.values())
    recount = Recount(folder, topics, window_ms=0)
    try:
        for records in log.read(begins, ends):
            recount.add(records)
            done += len(records.table)
            tell("records read", done, total)
        once: Any = recount.database.sql(_ONCE)
        for batch in once.to_arrow_reader(_ROWS_A_BATCH):
            table.add(pa.Table.from_batches([batch]))
    finally:
        recount.close()


def read_files(table: EventTable, paths: Sequence[Path], event_types: EventTypes) -> None:
    """Read files of events and products, which have to fit into memory."""
    data = read_dataset(*data_files(paths), event_types)
    table.know_catalogue(
        {
            product_id: _tags(data, number)
            for product_id, number in zip(data.product_ids, data.set_of_product.tolist(), strict=True)
        }
    )
    sets = pa.array([_tags(data, number) for number in range(len(data.sets.starts) - 1)], pa.list_(pa.string()))
    table.add(
        pa.table(
            {
                "user_id": pa.array(data.user_ids, pa.string()).take(pa.array(data.users)),
                "product_id": pa.array(data.product_ids, pa.string()).take(pa.array(data.products)),
                "type": pa.array(data.types, pa.uint8()),
                "time_ms": pa.array(data.times_ms),
                "tags": sets.take(pa.array(data.tag_sets)),
            }
        )
    )


def _tags(data: Dataset, number: int) -> list[str]:
    return [data.tag_names[tag] for tag in data.sets.of(number).tolist()]
