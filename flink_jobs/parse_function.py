"""The vectorised function at the head of the job: raw records in, events or dead letters out."""

from __future__ import annotations

import time
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from pyflink.table import DataTypes
from pyflink.table.types import DataType
from pyflink.table.udf import FunctionContext, ScalarFunction

from flink_jobs.archived_records import Records, unpacked
from flink_jobs.catalogue_tags import CatalogueTags
from flink_jobs.connected_store import connected_store
from flink_jobs.fast_parse import BatchParser, ParsedBatch
from flink_jobs.redis_store import RedisStore
from flink_jobs.settings import JobSettings
from flink_jobs.worker_process import quieten_worker_process
from reccore import layout
from reccore.dead_letters import dead_letter, dead_letter_key
from reccore.events import identity
from reccore.metadata_numbers import ABSENT
from reccore.tag_list import escape_all, join_tags

Column: TypeAlias = pd.Series

# One row a record. `event_type` is the position of the topic's type among the configured ones and is there for dead
# letters too; they have `reason`, the message and its key, events have the rest. The product is escaped, the tags are
# joined and escaped (see `tag_list`), and null when there are none. `awaited` says that the record is so new that
# somebody may be waiting for its event to be in an answer. The metadata numbers of the settings follow.
_FIELDS: Final = {
    "event_type": DataTypes.INT(),
    "identity": DataTypes.STRING(),
    "user_id": DataTypes.STRING(),
    "product_id": DataTypes.STRING(),
    "time_ms": DataTypes.BIGINT(),
    "tags": DataTypes.STRING(),
    "partition": DataTypes.INT(),
    "offset": DataTypes.BIGINT(),
    "awaited": DataTypes.BOOLEAN(),
    "reason": DataTypes.STRING(),
    "letter_key": DataTypes.STRING(),
    "letter": DataTypes.STRING(),
}


def parsed_row(numbers: int) -> DataType:
    """Give the type of a parsed record with so many metadata numbers."""
    fields = {**_FIELDS, **{f"metadata_{number}": DataTypes.BIGINT() for number in range(numbers)}}
    return DataTypes.ROW([DataTypes.FIELD(name, of) for name, of in fields.items()])


class ParseRecords(ScalarFunction):  # type: ignore[misc]
    """(value, topic, partition, offset, Kafka time) → one row of :func:`parsed_row`."""

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings
        self._store: RedisStore
        self._parser: BatchParser
        self._catalogue: CatalogueTags

    def open(self, function_context: FunctionContext) -> None:  # noqa: ARG002 (Flink's signature)
        """Make the parser and the catalogue look-up, which connects when the first event without tags comes."""
        quieten_worker_process()
        self._store = connected_store(
            self._settings.catalog_url, patience_seconds=self._settings.redis_patience_seconds
        )
        self._parser = BatchParser(self._settings.event_types)
        self._catalogue = CatalogueTags(self._store)
        types = self._settings.event_types
        self._type_of_topic = types.by_topic
        self._code_of_topic = {topic: types.names.index(name) for topic, name in self._type_of_topic.items()}

    def close(self) -> None:
        """Disconnect."""
        self._store.close()

    def is_deterministic(self) -> bool:
        """Tell the planner that a second call may answer otherwise: the catalogue changes."""
        return False

    def eval(self, values: Column, topics: Column, partitions: Column, offsets: Column, times: Column) -> pd.DataFrame:
        """Parse one batch."""
        records = Records(values.tolist(), topics.tolist(), partitions.tolist(), offsets.tolist())
        if self._settings.archived_prefix:
            records = unpacked(self._settings.archived_prefix, records)
        raws, topic_names, *_ = records
        places = list(zip(topic_names, records.partitions, records.offsets, strict=True))
        arrived_ms = times.to_numpy().astype("datetime64[ms]").astype(np.int64)
        record_times = arrived_ms.tolist()
        parsed = self._parser.parse(raws, [self._type_of_topic[topic] for topic in topic_names], record_times)
        identities = [identity(event_id, *place) for event_id, place in zip(parsed.event_ids, places, strict=True)]
        columns: dict[str, Any] = {
            "event_type": np.fromiter(map(self._code_of_topic.__getitem__, topic_names), np.int32, len(raws)),
            "identity": identities,
            "user_id": parsed.user_ids,
            "product_id": escape_all(parsed.product_ids),
            "time_ms": np.array(parsed.times_ms, dtype=np.int64),
            "tags": self._joined_tags(parsed),
            "partition": np.array(records.partitions, dtype=np.int32),
            "offset": np.array(records.offsets, dtype=np.int64),
            "awaited": arrived_ms >= (time.time() - layout.AWAITED_SECONDS) * 1000,
            "reason": None,
            "letter_key": None,
            "letter": None,
            **self._metadata(parsed),
        }
        if parsed.rejected:
            columns |= self._dead_letters(parsed, raws, places, record_times)
        return pd.DataFrame(
            {name: _column(values) for name, values in columns.items()}, index=range(len(raws)), copy=False
        )

    def _metadata(self, parsed: ParsedBatch) -> dict[str, Any]:
        numbers = [np.full(len(parsed.user_ids), ABSENT, dtype=np.int64) for _ in self._settings.summed_numbers]
        if numbers:
            for row, metadata in parsed.metadata.items():
                for column, value in zip(numbers, self._settings.metadata_numbers.read(metadata), strict=True):
                    column[row] = value
        return {f"metadata_{number}": column for number, column in enumerate(numbers)}

    def _joined_tags(self, parsed: ParsedBatch) -> list[str | None]:
        missing = [
            product_id
            for product_id, tags in zip(parsed.product_ids, parsed.tags, strict=True)
            if tags is None and product_id is not None
        ]
        known = self._catalogue.tags_of(missing) if missing else {}
        given = (
            known.get(product_id or "", ()) if tags is None else tags
            for product_id, tags in zip(parsed.product_ids, parsed.tags, strict=True)
        )
        return [join_tags(tags) if tags else None for tags in given]

    def _dead_letters(
        self, parsed: ParsedBatch, raws: list[bytes | None], places: list[tuple[str, int, int]], times: list[int]
    ) -> dict[str, list[str | None]]:
        reasons: list[str | None] = [None] * len(raws)
        keys, letters = list(reasons), list(reasons)
        for row, error in parsed.rejected.items():
            topic, partition, offset = places[row]
            reasons[row] = str(error.reason)
            keys[row] = dead_letter_key(topic, partition, offset)
            letters[row] = dead_letter(
                error.reason,
                error.detail,
                topic=topic,
                partition=partition,
                offset=offset,
                timestamp=times[row],
                raw=raws[row],
            )
        return {"reason": reasons, "letter_key": keys, "letter": letters}


def _column(values: Any) -> Any:
    return pd.Series(values, dtype=object) if isinstance(values, list) else values
