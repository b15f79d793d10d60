"""What a file of an archive holds: the columns of ``docs/data_dictionary.md``, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reccore.event_types import ADD_TO_CART, VIEW

_PLACE: Final = (
    pa.field("topic", pa.string(), nullable=False),
    pa.field("partition", pa.int32(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("arrived_ms", pa.int64(), nullable=False),
)
SCHEMA: Final = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("process_time", pa.float64(), nullable=False),
        pa.field("hit_flink", pa.bool_(), nullable=False),
        pa.field("event_id", pa.string()),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("session_id", pa.string()),
        pa.field("metadata", pa.string()),
        *_PLACE,
    ]
)
"""One row an event. ``process_time`` is ``timestamp_ms`` in seconds."""

RATING_SCHEMA: Final = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("rating", pa.float64(), nullable=False),
        pa.field("process_time", pa.float64(), nullable=False),
        pa.field("event_id", pa.string()),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        *_PLACE,
    ]
)
"""One row a rating, likewise."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """A kind of records that has archives of its own: its name, which their files bear, and the columns."""

    name: str
    schema: pa.Schema


EVENTS: Final = DataSet("events", SCHEMA)
RATINGS: Final = DataSet("ratings", RATING_SCHEMA)
DATA_SETS: Final = {each.name: each for each in (EVENTS, RATINGS)}

MILLISECONDS_A_DAY: Final = 86_400_000
_ACTIONS: Final = {VIEW: "click", ADD_TO_CART: "cart"}
_FEW_VALUES: Final = ["user_id", "item_id", "rating", "action", "event_type", "topic", "partition", "tags.list.element"]
_ROW_GROUP: Final = 100_000
_WIDE_FROM: Final = 2**30
_ROWS_A_CHUNK: Final = 1_000
_EPOCH: Final = date(1970, 1, 1).toordinal()


def action_of(event_type: str) -> str:
    """Give the name under which ``action`` holds an event type; a further type keeps its own."""
    return _ACTIONS.get(event_type, event_type)


def encode(table: pa.Table) -> bytes:
    """Give a Parquet file as bytes. Columns of few distinct values are stored by dictionary."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="snappy", use_dictionary=_FEW_VALUES, row_group_size=_ROW_GROUP)
    return bytes(sink.getvalue())


def in_order(table: pa.Table, names: Sequence[str], *, wide_from: int = _WIDE_FROM) -> pa.Table:
    """Give the rows sorted by columns, however many bytes they are.

    Arrow takes rows out of a text column of 2 GiB and more only where its offsets have 64 bits. Tables of ``wide_from``
    bytes and more are sorted with such, and come back in chunks of few rows with the types that they had.
    """
    keys = [(name, "ascending") for name in names]
    if table.nbytes < wide_from:
        return table.sort_by(keys)
    wide = table.cast(pa.schema([each.with_type(_wide(each.type)) for each in table.schema])).combine_chunks()
    order = pc.sort_indices(wide.select(names), sort_keys=keys)
    places = range(0, len(order), _ROWS_A_CHUNK)
    return pa.concat_tables(wide.take(order[at : at + _ROWS_A_CHUNK]).cast(table.schema) for at in places)


def _wide(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_wide(kind.value_type))
    return pa.large_string() if pa.types.is_string(kind) else kind


def by_day(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Give the rows of each event-time day (UTC), in the order of time, with the folder that they belong in."""
    ordered = table.take(pc.sort_indices(table, sort_keys=[("timestamp_ms", "ascending")]))
    days = ordered["timestamp_ms"].to_numpy() // MILLISECONDS_A_DAY
    borders = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    for begin, end in pairwise(borders):
        if end > begin:
            yield folder_of(date.fromordinal(_EPOCH + int(days[begin]))), ordered.slice(begin, end - begin)


def folder_of(day: date) -> str:
    """Give the folder of a day, ``year=2026/month=01/day=05``."""
    return f"year={day.year:04d}/month={day.month:02d}/day={day.day:02d}"


def day_of(path: str) -> date:
    """Give the day in whose folder a file lies; the inverse of :func:`folder_of`."""
    year, month, day = (int(part.partition("=")[2]) for part in path.split("/")[:3])
    return date(year, month, day)


def today(now: float) -> date:
    """Give the day in UTC of a time in epoch seconds."""
    return datetime.fromtimestamp(now, UTC).date()
