"""The writer: records in, whole files out, each event once. What is not committed yet is in memory only."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reweigh.archive.errors import ArchiveChanged, ArchiveError
from reweigh.archive.index import IdIndex, digests
from reweigh.archive.log import STAGING, Log, Snapshot
from reweigh.archive.manifest import DataFile, Manifest, Totals
from reweigh.archive.records import RecordReader, Records, totals_of
from reweigh.archive.schema import DataSet, by_day, encode
from reweigh.archive.store import Store

FLUSHED = "flush"
Clock = Callable[[], float]
Place = tuple[str, int]
_LEFTOVER_MS = 86_400_000
_IDS_AT_ONCE = 100_000


@dataclass(slots=True)
class _Pending:
    """What the next commit will hold."""

    rows: list[pa.RecordBatch] = field(default_factory=list)
    count: int = 0
    size: int = 0
    token: str = ""
    ids: dict[bytes, int] = field(default_factory=dict)
    offsets: dict[Place, int] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)


class Writer:
    """Gathers events and commits them. Enter ``store.alone("writer")`` before it is made: there is one at a time.

    Args:
        store: Where the archive is.
        index: The ids that are archived already; it is rebuilt when it lacks some.
        reader: Judges records, and makes rows of them.
        window_ms: How long an event id is remembered, in Kafka's time.
        cluster: Kafka's own id.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, store: Store, index: IdIndex, reader: RecordReader[Any], *, window_ms: int, cluster: str, clock: Clock
    ) -> None:
        self._store, self._index, self._clock = store, index, clock
        self._window_ms, self._cluster = window_ms, cluster
        self._reader = reader
        self._log = Log(store)
        self._pending = _Pending()
        self._staged: tuple[DataFile, ...] | None = None
        self._attempt: Manifest | None = None
        self.snapshot = self._recover()

    @property
    def buffered(self) -> int:
        """Rows that wait for the next commit."""
        return self._pending.count

    @property
    def buffered_bytes(self) -> int:
        """Bytes of these rows in memory."""
        return self._pending.size

    @property
    def is_settled(self) -> bool:
        """Whether every committed file has its final name."""
        return not self.snapshot.unsettled

    @property
    def has_progress(self) -> bool:
        """Whether anything was read since the last commit, if only duplicates."""
        return bool(self._pending.offsets)

    @property
    def positions(self) -> dict[Place, int]:
        """The offsets from which to read on, those of the last commit."""
        last = self.snapshot.last
        offsets: Mapping[str, Mapping[str, int]] = last.offsets if last else {}
        return {(topic, int(number)): upto for topic, each in offsets.items() for number, upto in each.items()}

    def take(self, records: Records) -> Totals:
        """Judge records and keep what is new; give what became of them."""
        parsed = self._reader.parse(records)
        valid = [i for i in range(len(records)) if i not in parsed.rejected] if parsed.rejected else range(len(records))
        named = [(i, event_id) for i in valid if (event_id := parsed.event_ids[i]) is not None]
        ids = digests(event_id for _, event_id in named)
        known = self._index.arrivals([each for each in ids if each not in self._pending.ids])
        repeated, fresh = set(), dict[bytes, int]()
        for (i, _), digest in zip(named, ids, strict=True):
            arrived = records.arrived_ms[i]
            before = fresh.get(digest, self._pending.ids.get(digest, known.get(digest)))
            if before is not None and arrived - before <= self._window_ms:
                repeated.add(i)
            else:
                fresh[digest] = arrived
        kept = [i for i in valid if i not in repeated] if repeated else list(valid)
        rows = self._reader.rows(records, parsed, kept)
        totals = totals_of(len(records), len(kept), parsed)
        self._pending.rows.append(rows)
        self._pending.count += len(kept)
        self._pending.size += rows.nbytes
        self._pending.ids |= fresh
        for topic, partition, offset in zip(records.topics, records.partitions, records.offsets, strict=True):
            self._pending.offsets[topic, partition] = offset + 1
        self._pending.totals = self._pending.totals.plus(totals)
        return totals

    def flush(self) -> None:
        """Commit what was gathered; after an ``OSError`` call it again: it goes on where it was.

        Raises :class:`ArchiveChanged` when the archive has to be opened anew.
        """
        with self._store.alone("commit", wait=True):
            self.snapshot = self._log.settle(self.snapshot)
            if self.has_progress:
                if self._staged is None:
                    self._staged = self._stage()
                self._commit(self._staged)
                self._pending, self._staged, self._attempt = _Pending(), None, None
                self.snapshot = self._log.settle(self.snapshot)

    def _stage(self) -> tuple[DataFile, ...]:
        if not self._pending.count:
            return ()
        # One name for all attempts, so that each overwrites what the one before has left.
        token = self._pending.token = self._pending.token or new_token(self._clock())
        data_set = self._reader.data_set
        table = pa.Table.from_batches(self._pending.rows, data_set.schema)
        return tuple(
            stage(self._store, rows, (folder, data_set), FLUSHED, f"{token}-{number:04d}")
            for number, (folder, rows) in enumerate(by_day(table))
        )

    def _commit(self, files: tuple[DataFile, ...]) -> None:
        manifest = self._attempt or self._manifest(files)
        self._index.add(self._pending.ids, manifest.archive, manifest.flushes)
        self._attempt = manifest  # from here on it may have been done, whatever is raised
        try:
            self.snapshot = self._log.commit(self.snapshot, manifest)
        except ArchiveChanged:
            self._attempt = None
            self._accept_compactions(manifest.flushes - 1)
            manifest = self._attempt = self._manifest(files)
            self.snapshot = self._log.commit(self.snapshot, manifest)

    def _accept_compactions(self, flushes: int) -> None:
        """Read the log anew when nothing but compactions came between; else this writer is not alone."""
        fresh, known = self._log.read(), self.snapshot.last
        same = fresh.last is not None and known is not None and fresh.last.archive == known.archive
        if not same or fresh.last is None or fresh.last.flushes != flushes or fresh.number <= self.snapshot.number:
            raise ArchiveChanged(f"{self._store.url} was changed by somebody else")
        self.snapshot = self._log.settle(fresh)

    def _manifest(self, files: tuple[DataFile, ...]) -> Manifest:
        last = self.snapshot.last
        offsets = {topic: dict(each) for topic, each in last.offsets.items()} if last else {}
        for (topic, partition), upto in self._pending.offsets.items():
            offsets.setdefault(topic, {})[str(partition)] = upto
        return Manifest(
            number=self.snapshot.number + 1,
            archive=last.archive if last else secrets.token_hex(8),
            token=secrets.token_hex(8),
            cluster=self._cluster,
            flushes=(last.flushes if last else 0) + 1,
            offsets=offsets,
            totals=(last.totals if last else Totals()).plus(self._pending.totals),
            written_at=self._clock(),
            data_set=self._reader.data_set.name,
            added=files,
        )

    def _recover(self) -> Snapshot:
        with self._store.alone("commit", wait=True):
            snapshot = self._log.settle(self._log.read())
        last = snapshot.last
        if last is None:
            held = [name for name in self._store.names("") if name.startswith("year=")]
            if held:
                raise ArchiveError(f"{self._store.url} holds {held[0]} but no log: move away what is there")
        elif last.cluster != self._cluster:
            raise ArchiveError(
                f"{self._store.url} holds the events of the Kafka cluster {last.cluster}, not of {self._cluster}: "
                "choose another ARCHIVE_URL"
            )
        elif last.data_set != self._reader.data_set.name:
            raise ArchiveError(f"{self._store.url} holds {last.data_set}, not {self._reader.data_set.name}")
        remove_leftovers(self._store, snapshot, FLUSHED, self._clock())
        if last is None:
            self._index.begin_anew()
        elif not self._index.covers(last.archive, last.flushes):
            self._rebuild_index(snapshot, last)
        return snapshot

    def _rebuild_index(self, snapshot: Snapshot, last: Manifest) -> None:
        """Read the ids back from the files that may hold some of the window, whose latest arrival of an id counts."""
        self._index.begin_anew()
        since = max((each.arrived_last_ms for each in snapshot.files.values()), default=0) - self._window_ms
        for file in snapshot.files.values():
            if file.arrived_last_ms < since:
                continue
            with self._store.open(file.path) as opened:
                for batch in pq.ParquetFile(opened).iter_batches(_IDS_AT_ONCE, columns=["event_id", "arrived_ms"]):
                    found = batch.filter(pc.is_valid(batch["event_id"])).to_pydict()
                    ids = dict(zip(digests(found["event_id"]), found["arrived_ms"], strict=True))
                    # Not last.flushes yet: an index that was cut short in the middle covers nothing.
                    self._index.add(ids, "", 0)
        self._index.add({}, last.archive, last.flushes)

    def prune(self, newest_ms: int) -> None:
        """Forget ids that no later record can repeat; ``newest_ms`` is how far every partition has been read."""
        self._index.prune(newest_ms - self._window_ms)


def stage(store: Store, rows: pa.Table, place: tuple[str, DataSet], purpose: str, name: str) -> DataFile:
    """Write one file of a day's folder and a data set where nobody looks, and describe it."""
    folder, data_set = place
    data = encode(rows)
    staged = f"{STAGING}/{purpose}-{name}"
    store.write(staged, data)
    first, last = pc.min_max(rows["timestamp_ms"]).as_py().values()
    arrived_first, arrived_last = pc.min_max(rows["arrived_ms"]).as_py().values()
    path = f"{folder}/{data_set.name}-{name}.parquet"
    return DataFile(path, staged, len(rows), len(data), first, last, arrived_first, arrived_last)


def new_token(now: float) -> str:
    """Give a name that sorts by time and that nobody else uses."""
    return f"{int(now * 1000):013d}-{secrets.token_hex(4)}"


def remove_leftovers(store: Store, snapshot: Snapshot, purpose: str, now: float) -> None:
    """Remove what was staged for one purpose and never committed; the caller holds the lock of that purpose.

    Where there are no locks only what is older than a day goes: somebody else might be at work.
    """
    wanted = {each.staged for each in snapshot.files.values()}
    for name in store.names(STAGING):
        if not name.startswith(f"{purpose}-") or f"{STAGING}/{name}" in wanted:
            continue
        written_ms = name.split("-")[1]
        old = written_ms.isdigit() and int(written_ms) < now * 1000 - _LEFTOVER_MS
        if store.has_locks or old:
            store.remove(f"{STAGING}/{name}")
