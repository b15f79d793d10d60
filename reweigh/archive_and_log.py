"""What a rebuild reads where Kafka has let go of the beginning of the log: an archive, and what came after it.

The archive's events go through Kafka, since the job that has counted them becomes the live one and has to go on from
its state, of which the source is a part: they are sent to topics of their own (``flink_jobs/archived_records.py``), one
for each event topic. The live job goes on to look at these, so they are emptied and stay until another rebuild has
taken its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import duckdb

from reweigh.archive.as_records import EVENT, EVENT_COLUMNS, selected
from reweigh.archive.log import Log
from reweigh.archive.store import open_store
from reweigh.kafka import EventProducer
from reweigh.progress import Tell
from reweigh.rebuild_source import PREFIX, RebuildSource, total
from reweigh.topics import Topics
from reweigh.verify.archived import ArchivedLog
from reweigh.verify.log import EventLog

_COLUMNS: Final = (*EVENT_COLUMNS, "topic", "partition", "offset")
_AS_RECORDS: Final = f"""
SELECT topic, encode(user_id) AS key, encode(concat("partition", ':', "offset", ' ', {EVENT})) AS value
FROM archived
"""  # noqa: S608 (constants)


class ArchiveAndLog(RebuildSource):
    """An archive, and of the log what came after it."""

    def __init__(self, bootstrap: str, topics: Sequence[str], admin: Topics, group: str, url: str) -> None:
        super().__init__(bootstrap, topics, admin)
        self._bootstrap, self._topics, self._group = bootstrap, topics, group
        self._store = store = open_store(url)
        self._snapshot = Log(store).read()
        self._archived = ArchivedLog(self.log, store, self._snapshot)
        self._prefix = f"{PREFIX}{group}-"
        self._own = {topic: f"{self._prefix}{topic}" for topic in topics}
        self._left_to_archive = 0
        """How many records of the log are not read, since the archive has them."""

    def refuse_unless_complete(self) -> None:
        """See that the archive is of these topics, and that none of its events would be left out."""
        self._archived.refuse_unless_complete()

    def prepare(self, tell: Tell) -> tuple[str, ...]:
        """Send the archive's events, and have the group begin after them in the topics themselves."""
        upto = self._archived.upto()
        partitions = Counter(self._own[place.topic] for place in upto)
        self._admin.create(partitions)
        self.reading = EventLog(self._bootstrap, (*self._topics, *self._own.values()))
        self._send(tell)
        self._admin.commit(self._group, upto)
        self._left_to_archive = total(upto)
        return ("--archived-prefix", self._prefix)

    def records(self) -> int:
        """Those sent, and those after the archive's end."""
        return total(self.reading.ends()) - self._left_to_archive

    def end(self) -> None:
        """Delete the own topics, or where the job that looks at them is live, empty them."""
        super().end()
        if self.is_live:
            self._admin.empty(self._own.values())
        else:
            self._admin.delete(set(self._own.values()) & set(self._admin.names()))

    def _is_left_over(self, topic: str) -> bool:
        return super()._is_left_over(topic) and topic not in self._own.values()

    def _send(self, tell: Tell) -> None:
        rows = sum(file.rows for file in self._snapshot.files.values())
        producer, done = EventProducer(self._bootstrap), 0
        with duckdb.connect() as database:
            for table in selected(self._store, self._snapshot, database, _COLUMNS, _AS_RECORDS):
                columns = (table[name].to_pylist() for name in ("topic", "key", "value"))
                for topic, key, value in zip(*columns, strict=True):
                    producer.send(self._own[topic], key, value)
                done += len(table)
                tell("archived events sent", done, rows)
        producer.close()
