"""The log where Kafka has let go of its beginning: that part from an archive, the rest from the topics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from reweigh.archive.log import Snapshot
from reweigh.archive.store import Store
from reweigh.errors import CommandError
from reweigh.verify.log import EventLog, Offsets, Place, Records

_ROWS_A_BATCH: Final = 50_000
_COLUMNS: Final = (
    "user_id", "item_id", "event_id", "event_type", "timestamp_ms", "tags",
    "topic", "partition", "offset", "arrived_ms",
)  # fmt: skip

# As an event would have come; a time before 1973 in milliseconds would be read as seconds, so that is written out.
_AS_RECORDS: Final = """
SELECT place, "offset" AS spot, arrived_ms AS arrived, encode(json_object(
    'event_id', event_id, 'user_id', user_id, 'product_id', item_id, 'event_type', event_type, 'tags', tags,
    'timestamp', CASE WHEN timestamp_ms >= 100000000000 THEN to_json(timestamp_ms)
                 ELSE to_json(strftime(epoch_ms(timestamp_ms), '%Y-%m-%dT%H:%M:%S.%gZ')) END)::VARCHAR) AS value
FROM archived JOIN places ON archived.topic = places.topic AND archived.partition = places.partition
"""


class ArchivedLog:
    """Stands for an :class:`~reweigh.verify.log.EventLog`.

    What an archive does not hold of its part, duplicates and dead letters, is missing from the records that it gives.
    """

    def __init__(self, log: EventLog, store: Store, snapshot: Snapshot) -> None:
        if snapshot.last is None:
            raise CommandError(f"there is no archive in {store.url}")
        self._log, self._store, self._snapshot = log, store, snapshot
        offsets = snapshot.last.offsets
        self._upto = {Place(topic, int(p)): upto for topic, each in offsets.items() for p, upto in each.items()}

    @property
    def places(self) -> list[Place]:
        """Every partition seen so far; a place keeps its index."""
        return self._log.places

    def ends(self) -> dict[Place, int]:
        """Give the end of every partition. Raises :class:`CommandError` when the archive is of other topics."""
        ends = self._log.ends()
        beyond = [place for place, upto in self._upto.items() if upto > ends.get(place, 0)]
        if beyond:
            raise CommandError(
                f"the archive in {self._store.url} reaches offset {self._upto[beyond[0]]:,} of {beyond[0].topic}, "
                f"partition {beyond[0].partition}, which Kafka does not: it is not of these topics"
            )
        return ends

    def refuse_unless_complete(self) -> None:
        """See that no record lies between the archive's end and Kafka's beginning."""
        self.ends()
        for place, begin in self._log.begins().items():
            if begin > self._upto.get(place, 0):
                raise CommandError(
                    f"the log is not complete: Kafka begins with offset {begin:,} of {place.topic}, partition "
                    f"{place.partition}, and the archive reaches {self._upto.get(place, 0):,}"
                )

    def committed(self, group: str) -> dict[Place, int]:
        """Give the offsets that a consumer group has committed; 0 where it has committed none."""
        return self._log.committed(group)

    def has_records(self, begin: Offsets, end: Offsets) -> bool:
        """Whether Kafka has a record between."""
        return self._log.has_records(begin, end)

    def read(self, begin: Offsets, end: Offsets) -> Iterator[Records]:
        """Give all records from ``begin`` up to ``end``; those of the archive only when that begins with nothing."""
        if not begin:
            yield from self._archived()
        yield from self._log.read({place: max(begin.get(place, 0), self._upto.get(place, 0)) for place in end}, end)

    def _archived(self) -> Iterator[Records]:
        with duckdb.connect() as database:
            numbers = pa.table(
                {
                    "place": pa.array(range(len(self.places)), pa.int32()),
                    "topic": [place.topic for place in self.places],
                    "partition": pa.array([place.partition for place in self.places], pa.int32()),
                }
            )
            database.register("places", numbers)
            for file in self._snapshot.files.values():
                try:
                    opened = self._store.open(file.path)
                except FileNotFoundError as exc:
                    gone = f"{file.path} of {self._store.url} is gone; was it compacted? Try again"
                    raise CommandError(gone) from exc
                with opened:
                    for batch in pq.ParquetFile(opened).iter_batches(_ROWS_A_BATCH, columns=list(_COLUMNS)):
                        database.register("archived", pa.Table.from_batches([batch]))
                        yield Records(self.places, database.sql(_AS_RECORDS).to_arrow_table())
                        database.unregister("archived")
