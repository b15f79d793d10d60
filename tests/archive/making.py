# ruff: noqa: D102  (what `Failing` overrides is described by `Store`)
"""Records for the tests of the archive, what must come of them, and a store that fails when it is told to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.memory import MemoryFileSystem

from reccore.event_types import EventTypes
from reweigh.archive.events import EventReader
from reweigh.archive.index import IdIndex
from reweigh.archive.ratings import RatingReader
from reweigh.archive.records import RecordReader, Records
from reweigh.archive.store import LocalStore, RemoteStore, Store
from reweigh.archive.writer import Writer

TYPES = EventTypes.from_settings({"EXTRA_EVENT_TYPES": "wishlist:wishlist-events"})
EVENT_READER, RATING_READER = EventReader(TYPES), RatingReader("ratings")
ARRIVED_MS = 1_800_000_000_000
DAY_MS = 86_400_000
WINDOW_MS = 7 * DAY_MS
CLUSTER = "some-cluster"
MEMORY = "memory://"


def event(event_id: str | None, time_ms: int = 1_600_000_000_000, **members: object) -> bytes:
    """One event as JSON, which is a rating too."""
    named = {} if event_id is None else {"event_id": event_id}
    fields = {"user_id": "u", "product_id": "p", "rating": 4.5, "timestamp": time_ms}
    return json.dumps({**named, **fields, **members}).encode()


def records(
    values: Sequence[bytes | None], *, topic: str = "view-events", offset: int = 0, arrived_ms: int = ARRIVED_MS
) -> Records:
    """Records of one partition that follow one another."""
    count = len(values)
    return Records([topic] * count, [0] * count, list(range(offset, offset + count)), [arrived_ms] * count, values)


@contextmanager
def writing(
    store: Store, state: Path, cluster: str = CLUSTER, reader: RecordReader[Any] = EVENT_READER
) -> Iterator[Writer]:
    """A writer, as a process has it."""
    with store.alone("writer", wait=False), closing(IdIndex(state)) as index:
        yield Writer(store, index, reader, window_ms=WINDOW_MS, cluster=cluster, clock=lambda: 1_900_000_000.0)


def visible(folder: Path) -> list[Path]:
    """The files that anybody sees who looks for Parquet."""
    return sorted(folder.glob("**/*.parquet"))


def rows_of(files: Sequence[Path]) -> list[dict[str, Any]]:
    """All rows of some files, each of which must be whole."""
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def ids_of(rows: Sequence[dict[str, Any]]) -> Counter[str]:
    """How often each event id is there; an event without one goes by its place."""
    return Counter(row["event_id"] or f"@{row['topic']}:{row['partition']}:{row['offset']}" for row in rows)


class Cut(OSError):
    """What the store fails with."""


class Failing(Store):
    """Another store whose ``fails_at``-th change fails, before or after it is done; later ones too, if ``for_good``."""

    def __init__(self, inner: Store, fails_at: int, *, after: bool = False, for_good: bool = True) -> None:
        self._inner, self._fails_at, self._after, self._for_good = inner, fails_at, after, for_good
        self.url, self.has_locks, self.changes = inner.url, inner.has_locks, 0

    def _change(self, action: Callable[[], None]) -> None:
        self.changes += 1
        fails = self.changes == self._fails_at or (self._for_good and self.changes > self._fails_at > 0)
        if fails and not (self._after and self.changes == self._fails_at):
            raise Cut(28, "No space left on device")
        action()
        if fails:
            raise Cut(5, "the answer got lost")

    def write(self, path: str, data: bytes) -> None:
        self._change(lambda: self._inner.write(path, data))

    def create(self, path: str, data: bytes) -> None:
        self._change(lambda: self._inner.create(path, data))

    def move(self, path: str, to: str) -> None:
        self._change(lambda: self._inner.move(path, to))

    def remove(self, path: str) -> None:
        self._change(lambda: self._inner.remove(path))

    def read(self, path: str) -> bytes:
        return self._inner.read(path)

    def open(self, path: str) -> IO[bytes]:
        return self._inner.open(path)

    def sync(self, folders: Iterable[str]) -> None:
        self._inner.sync(folders)

    def exists(self, path: str) -> bool:
        return self._inner.exists(path)

    def names(self, folder: str) -> list[str]:
        return self._inner.names(folder)

    @contextmanager
    def alone(self, name: str, *, wait: bool) -> Iterator[None]:
        with self._inner.alone(name, wait=wait):
            yield


class Place:
    """A place for an archive: on the disk, or where one of fsspec's URLs begins."""

    def __init__(self, folder: Path, begin: str = "") -> None:
        self.state, self.folder = folder / "state", folder / "archive"
        self._begin, self._url = begin, f"{begin}{self.folder}" if begin else ""

    def store(self) -> Store:
        """Open it as a new process does."""
        return RemoteStore(self._url) if self._url else LocalStore(self.folder)

    def beside(self, name: str) -> Place:
        """Give another place of the same kind, in a folder of this one."""
        return Place(self.state.parent / name, self._begin)

    def forget(self) -> None:
        """Make the memory empty, which looks through all of it at each question."""
        if self._begin == MEMORY:
            MemoryFileSystem.store.clear()
            MemoryFileSystem.pseudo_dirs[:] = [""]

    def rows(self) -> list[dict[str, Any]]:
        """Read every visible file whole, by its name alone."""
        if not self._url:
            return rows_of(visible(self.folder))
        store = RemoteStore(self._url)
        store._files.invalidate_cache()
        found: list[dict[str, Any]] = []
        for path in store._files.find(store._root):
            if path.endswith(".parquet"):
                found += pq.ParquetFile(pa.BufferReader(store._files.cat_file(path))).read().to_pylist()
        return found
