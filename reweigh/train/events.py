"""Events on their way into a model: a table in a database on disk, so that memory has a bound whatever their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from reccore.canary import CANARY
from reweigh.train.interactions import Interactions, Person

_MEMORY: Final = "1000MB"
_KNOWN: Final = 0.8
VALIDATION: Final = 0
TEST: Final = 1

_TABLES: Final = """
CREATE TABLE events (user_id VARCHAR, product_id VARCHAR, type UTINYINT, time_ms BIGINT, tags VARCHAR[]);
CREATE TABLE catalogue (product_id VARCHAR, tags VARCHAR[]);
"""

# A sample of those with two events or more, in an order that has to do with nothing; by turns one for each part.
_SAMPLE: Final = """
CREATE TABLE sampled AS
    SELECT user_id, (row_number() OVER (ORDER BY md5(user_id), user_id) - 1)::UINTEGER AS number
    FROM (SELECT user_id FROM events GROUP BY user_id HAVING count(*) > 1)
    QUALIFY number < {most}
"""
_HELD: Final = """
CREATE TABLE held AS
    SELECT place FROM (
        SELECT events.rowid AS place, row_number() OVER by_time AS turn, count(*) OVER (PARTITION BY user_id) AS events
        FROM events SEMI JOIN sampled USING (user_id)
        WINDOW by_time AS (PARTITION BY user_id ORDER BY time_ms, product_id, type, events.rowid)
    ) WHERE turn > greatest(1, floor(events * {known} + 1e-9))
"""
_NUMBERED: Final = """
CREATE TABLE products AS
    SELECT product_id, (row_number() OVER (ORDER BY product_id) - 1)::INTEGER AS product
    FROM (SELECT DISTINCT product_id FROM events);
CREATE TABLE people AS
    SELECT user_id, (row_number() OVER (ORDER BY user_id) - 1)::INTEGER AS person
    FROM (SELECT DISTINCT user_id FROM events);
"""
KNOWN_EVENTS: Final = "(SELECT * FROM events ANTI JOIN held ON events.rowid = held.place)"
HELD_EVENTS: Final = "(SELECT * FROM events SEMI JOIN held ON events.rowid = held.place)"


class EventTable:
    """Events, each once: who did what with which product, when. ``types`` are in the order of the weights."""

    def __init__(self, database: duckdb.DuckDBPyConnection, types: Sequence[str]) -> None:
        self.database, self.types = database, tuple(types)
        database.execute(_TABLES)

    def add(self, events: pa.Table) -> None:
        """Add ``user_id``, ``product_id``, ``type`` (its place among the types), ``time_ms`` and ``tags`` (or null)."""
        self._insert("events (user_id, product_id, type, time_ms, tags)", events)

    def know_catalogue(self, tags: Mapping[str, Sequence[str]]) -> None:
        """Take note of the catalogue's tags by product."""
        columns = {
            "product_id": pa.array(list(tags), pa.string()),
            "tags": pa.array([list(each) for each in tags.values()], pa.list_(pa.string())),
        }
        self._insert("catalogue (product_id, tags)", pa.table(columns))

    def prepare(self, most_people: int) -> int:
        """Number people and products, hold out the newest events of a sample of people; give how many events there are.

        Of each of ``most_people`` the oldest 80 % stay known, one at least.
        """
        self.database.execute("DELETE FROM events WHERE user_id = ? OR product_id = ?", [CANARY, CANARY])
        for statement in (_SAMPLE.format(most=most_people), _HELD.format(known=_KNOWN), _NUMBERED):
            self.database.execute(statement)
        ((events,),) = self.database.sql("SELECT count(*) FROM events").fetchall()
        return int(events)

    def interactions(self, *, held_out: bool) -> Interactions:
        """Count all events, or with ``held_out`` only those that are not held out."""
        source = KNOWN_EVENTS if held_out else "events"
        found = self.database.sql(
            f"SELECT person, product, {self.counts('::INTEGER')} FROM {source} JOIN people USING (user_id) "
            "JOIN products USING (product_id) GROUP BY person, product ORDER BY person, product"
        ).fetchnumpy()
        ((people,),) = self.database.sql("SELECT count(*) FROM people").fetchall()
        ids = self.database.sql("SELECT product_id FROM products ORDER BY product").fetchall()
        return Interactions(
            product_ids=tuple(product_id for (product_id,) in ids),
            people=int(people),
            users=np.asarray(found["person"], dtype=np.int32),
            products=np.asarray(found["product"], dtype=np.int32),
            counts=np.column_stack([found[f"c{code}"] for code in range(len(self.types))]).astype(np.int32, copy=False),
        )

    def people(self, part: int) -> list[Person]:
        """Give one half of the sample, :data:`VALIDATION` or :data:`TEST`: who has something new held out.

        What somebody is known to have had to do with is left out.
        """
        known: dict[str, dict[str, tuple[int, ...]]] = {}
        for user_id, product_id, *counts in self._sampled(KNOWN_EVENTS, part, self.counts()):
            known.setdefault(user_id, {})[product_id] = tuple(counts)
        relevant: dict[str, set[str]] = {}
        for user_id, product_id, _ in self._sampled(HELD_EVENTS, part, "count(*)"):
            if product_id not in known[user_id]:
                relevant.setdefault(user_id, set()).add(product_id)
        return [
            Person(known[user_id], frozenset(known[user_id]), frozenset(products), user_id)
            for user_id, products in sorted(relevant.items())
        ]

    def counts(self, kind: str = "") -> str:
        """Give SQL's expressions that count events by type: ``c0``, ``c1`` and so on."""
        return ", ".join(f"count(*) FILTER (type = {code}){kind} AS c{code}" for code in range(len(self.types)))

    def _sampled(self, source: str, part: int, figures: str) -> Iterator[tuple[Any, ...]]:
        found = self.database.execute(
            f"SELECT user_id, product_id, {figures} FROM {source} JOIN sampled USING (user_id) "
            f"WHERE number % 2 = {part} GROUP BY user_id, product_id ORDER BY user_id, product_id"
        )
        while rows := found.fetchmany(10_000):
            yield from rows

    def _insert(self, into: str, rows: pa.Table) -> None:
        self.database.register("given", rows)
        self.database.execute(f"INSERT INTO {into} SELECT * FROM given")
        self.database.unregister("given")


@contextmanager
def event_table(folder: Path, types: Sequence[str]) -> Iterator[EventTable]:
    """Give an empty table in a database in ``folder``, which may grow as large as the events."""
    with duckdb.connect(folder / "events.duckdb") as database:
        database.execute(f"SET memory_limit = '{_MEMORY}'; SET temp_directory = '{folder}'")
        database.execute("SET enable_progress_bar = false")
        yield EventTable(database, types)
