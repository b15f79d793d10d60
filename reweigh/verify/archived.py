"""The log where Kafka has let go of its beginning: that part from an archive, the rest from the topics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import duckdb
import pyarrow as pa

from reweigh.archive.as_records import EVENT, EVENT_COLUMNS, selected
from reweigh.archive.log import Snapshot
from reweigh.archive.store import Store
from reweigh.errors import CommandError
from reweigh.verify.log import EventLog, Offsets, Place, Records

_COLUMNS: Final = (*EVENT_COLUMNS, "topic", "partition", "offset", "arrived_ms")
_AS_RECORDS: Final = f"""
SELECT place, "offset" AS spot, arrived_ms AS arrived, encode({EVENT}) AS value
FROM archived JOIN places ON archived.topic = places.topic AND archived.partition = places.partition
"""


class ArchivedLog:
    """Stands for an :class:`~reweigh.verify.log.EventLog`.

    What an archive does not hold of its part, duplicates and dead letters, is missing from the records that it gives.
    """

    def __init__(self, log: EventLog, store: Store, snapshot: Snapshot) -> None:
        if snapshot.last is None:
            raise CommandError(f"there is no archive in {store.url} (ARCHIVE_URL): `reweigh archive run` makes one")
        self._log, self._store, self._snapshot, self._cluster = log, store, snapshot, snapshot.last.cluster
        offsets = snapshot.last.offsets
        self._upto = {Place(topic, int(p)): upto for topic, each in offsets.items() for p, upto in each.items()}

    def upto(self) -> dict[Place, int]:
        """Give for every partition of the topics the offset after the last record that the archive has dealt with."""
        return {place: self._upto.get(place, 0) for place in self._log.ends()}

    @property
    def places(self) -> list[Place]:
        """Every partition seen so far; a place keeps its index."""
        return self._log.places

    def ends(self) -> dict[Place, int]:
        """Give the end of every partition. Raises :class:`CommandError` when the archive is of others."""
        ends = self._log.ends()
        if self._log.cluster != self._cluster:
            raise CommandError(
                f"the archive in {self._store.url} is of another Kafka, {self._cluster}, not of this one, "
                f"{self._log.cluster}: its offsets mean nothing here"
            )
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
            for table in selected(self._store, self._snapshot, database, _COLUMNS, _AS_RECORDS):
                yield Records(self.places, table)
