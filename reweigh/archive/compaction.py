"""Small files of a day become one. A snapshot shows each event once throughout; a plain glob may not, for a moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from reweigh.archive.errors import ArchiveChanged
from reweigh.archive.log import Log, Snapshot
from reweigh.archive.manifest import DataFile
from reweigh.archive.schema import EVENTS, DataSet, day_of, in_order
from reweigh.archive.store import Store
from reweigh.archive.writer import new_token, remove_leftovers, stage

COMPACTED: Final = "compact"
SMALLER_THAN_MB: Final = 64
MOST_ROWS: Final = 1_000_000
"""Rows of one merged file: they are sorted in memory."""
MOST_BYTES: Final = 512 * 2**20
"""And their bytes, before compression."""
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of one merge."""

    day: date
    files: int
    rows: int
    bytes: int


class Compactor:
    """Merges files of one archive, beside a writer too. Only one works at a time on this machine."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._log = Log(store)

    def compact(
        self,
        *,
        days: Collection[date] | None = None,
        smaller_than: int = SMALLER_THAN_MB * 2**20,
        at_least: int = 2,
        until_ms: float | None = None,
    ) -> Generator[Merged, None, None]:
        """Merge the files below ``smaller_than`` bytes of each day, and tell of each merge once it is done.

        ``days`` None means all. A day with fewer than ``at_least`` small files is left alone, unless ``until_ms`` is
        given and none of its files was written later (epoch ms). Raises :class:`ArchiveError` when another compactor
        is at work.
        """
        with self._store.alone("compact", wait=False):
            with self._store.alone("commit", wait=True):
                snapshot = self._log.settle(self._log.read())
            remove_leftovers(self._store, snapshot, COMPACTED, self._clock())
            for day, files in sorted(_small_files(snapshot, smaller_than).items()):
                quiet = until_ms is not None and all(_written_ms(each) < until_ms for each in files)
                if (days is not None and day not in days) or not (len(files) >= at_least or quiet):
                    continue
                for group in self._groups(files):
                    merged = self._merge(group, snapshot.data_set or EVENTS)
                    if merged is not None:
                        yield Merged(day, len(group), merged.rows, merged.bytes)

    def _groups(self, files: list[DataFile]) -> Iterator[list[DataFile]]:
        """Give what can be merged in memory at once."""
        for group in _runs(sorted(files, key=lambda each: each.first_ms), lambda each: each.rows, MOST_ROWS):
            yield from _runs(group, self._size, MOST_BYTES)

    def _size(self, file: DataFile) -> int:
        """Give a file's bytes before compression, by its footer; of one that is gone none, merging notices that."""
        try:
            with self._store.open(file.path) as opened:
                footer = pq.ParquetFile(opened).metadata
        except FileNotFoundError:
            return 0
        return sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))

    def _merge(self, group: list[DataFile], data_set: DataSet) -> DataFile | None:
        """Merge some files of one day; None when they are not there any more."""
        try:
            rows = pa.concat_tables(self._read(each).cast(data_set.schema) for each in group)
        except FileNotFoundError:
            return None
        ordered = in_order(rows, ("timestamp_ms", "topic", "partition", "offset"))
        folder = group[0].path.rpartition("/")[0]
        merged = stage(self._store, ordered, (folder, data_set), COMPACTED, f"{new_token(self._clock())}-merged")
        for _ in range(_ATTEMPTS):
            try:
                if self._exchange(group, merged):
                    return merged
                break
            except ArchiveChanged:
                continue  # the writer was first
        self._store.remove(merged.staged)
        return None

    def _read(self, file: DataFile) -> pa.Table:
        with self._store.open(file.path) as opened:
            return pq.ParquetFile(opened).read()

    def _exchange(self, group: list[DataFile], merged: DataFile) -> bool:
        with ExitStack() as held:
            held.enter_context(self._store.alone("commit", wait=True))
            snapshot = self._log.settle(self._log.read())
            removed = tuple(each.path for each in group)
            if snapshot.last is None or not set(removed) <= set(snapshot.files):
                return False
            manifest = replace(
                snapshot.last,
                number=snapshot.number + 1,
                token=new_token(self._clock()),
                written_at=self._clock(),
                added=(merged,),
                removed=removed,
            )
            self._log.settle(self._log.commit(snapshot, manifest))
        return True


def _small_files(snapshot: Snapshot, smaller_than: int) -> dict[date, list[DataFile]]:
    found: dict[date, list[DataFile]] = defaultdict(list)
    for file in snapshot.files.values():
        if file.bytes < smaller_than and file.rows < MOST_ROWS:
            found[day_of(file.path)].append(file)
    return {day: files for day, files in found.items() if len(files) > 1}


def _runs(files: list[DataFile], size: Callable[[DataFile], int], most: int) -> Iterator[list[DataFile]]:
    """Give files that follow one another and together are not larger than ``most``, at least two each time."""
    run: list[DataFile] = []
    total = 0
    for file in files:
        more = size(file)
        if total + more > most:
            if len(run) > 1:
                yield run
            run, total = [], 0
        run.append(file)
        total += more
    if len(run) > 1:
        yield run


def _written_ms(file: DataFile) -> int:
    return int(file.path.rpartition("/")[2].split("-")[1])
