"""Which event ids are archived already: a local SQLite file, which is only a cache of the archive's own columns."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
_IDS_A_QUESTION: Final = 1_000


_ADD: Final = """INSERT INTO seen VALUES (?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET arrived = max(arrived, excluded.arrived), flush = excluded.flush"""


def digests(event_ids: Iterable[str]) -> list[bytes]:
    """Give 16 bytes for each event id: two of a billion ids share theirs with a probability below 1e-20."""
    return [blake2b(each.encode("utf-8", "surrogatepass"), digest_size=16).digest() for each in event_ids]


class IdIndex:
    """Event ids by digest, each with the Kafka time (ms) at which it arrived and the flush that archived it.

    Raises ``OSError`` for whatever SQLite does not do, a full disk included.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ids.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = self._open()
        except sqlite3.DatabaseError:
            self.close()
            self._file.unlink(missing_ok=True)  # no SQLite file, or a broken one: it is a cache
            self._database = self._asked(self._open)

    def _open(self) -> sqlite3.Connection:
        self._database = sqlite3.connect(self._file, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=NORMAL",
            "PRAGMA cache_size=-65536",
            "CREATE TABLE IF NOT EXISTS seen "
            "(id BLOB PRIMARY KEY, arrived INTEGER NOT NULL, flush INTEGER NOT NULL) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS covers (archive TEXT NOT NULL, flushes INTEGER NOT NULL)",
        ):
            self._database.execute(statement)
        return self._database

    def close(self) -> None:
        """Close the file; without effect when that was done, or it was never open."""
        if database := getattr(self, "_database", None):
            database.close()

    def covers(self, archive: str, flushes: int) -> bool:
        """Whether it knows every id of the first ``flushes`` flushes of an archive; what it knows beyond is removed."""
        return bool(self._asked(lambda: self._covers(archive, flushes)))

    def _covers(self, archive: str, flushes: int) -> bool:
        found = self._database.execute("SELECT archive, flushes FROM covers").fetchone()
        if found is None or found[0] != archive or found[1] < flushes:
            return False
        if found[1] > flushes:
            with _Transaction(self._database):
                self._database.execute("DELETE FROM seen WHERE flush > ?", (flushes,))
                self._database.execute("UPDATE covers SET flushes = ?", (flushes,))
        return True

    def begin_anew(self) -> None:
        """Forget everything; it covers nothing until the next :meth:`add`."""

        def forget() -> None:
            with _Transaction(self._database):
                self._database.execute("DELETE FROM covers")
                self._database.execute("DELETE FROM seen")

        self._asked(forget)

    def arrivals(self, ids: Sequence[bytes]) -> dict[bytes, int]:
        """Give the arrival of those that are known."""
        return dict(self._asked(lambda: self._arrivals(sorted(ids))))

    def _arrivals(self, ids: Sequence[bytes]) -> Mapping[bytes, int]:
        found: dict[bytes, int] = {}
        for start in range(0, len(ids), _IDS_A_QUESTION):
            some = ids[start : start + _IDS_A_QUESTION]
            marks = ",".join("?" * len(some))
            rows = self._database.execute(f"SELECT id, arrived FROM seen WHERE id IN ({marks})", some)  # noqa: S608
            found.update(rows.fetchall())
        return found

    def add(self, ids: Mapping[bytes, int], archive: str, flushes: int) -> None:
        """Remember ids with their arrivals as those of one flush, in one transaction; it can be repeated."""
        rows = [(each, ids[each], flushes) for each in sorted(ids)]

        def add() -> None:
            with _Transaction(self._database):
                self._database.executemany(_ADD, rows)
                self._database.execute("DELETE FROM covers")
                self._database.execute("INSERT INTO covers VALUES (?, ?)", (archive, flushes))

        self._asked(add)

    def prune(self, before_ms: int) -> None:
        """Forget what arrived earlier."""
        self._asked(lambda: self._database.execute("DELETE FROM seen WHERE arrived < ?", (before_ms,)))

    def __len__(self) -> int:
        ((count,),) = self._asked(lambda: self._database.execute("SELECT count(*) FROM seen").fetchall())
        return int(count)

    def _asked(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except sqlite3.Error as exc:
            raise OSError(f"{self._file}: {exc}") from exc


class _Transaction:
    """All of it or nothing, and nothing left open, also when SQLite has rolled back by itself."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._database.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")
