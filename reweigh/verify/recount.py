"""The recount: events as the log has them, each identity once, counted by user and tag, product, tag and in total.

Where the contract leaves an outcome to arrival, an event is *unsure*: it may have been counted or not. So is one that
came after the offsets that are known to be applied. What is counted has both figures, all events and the unsure ones
among them, and what is stored must lie between the sure ones and all. At rest, without such cases, nothing is unsure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import pyarrow as pa

from reweigh.verify.careful import CarefulReader, Dead
from reweigh.verify.log import Offsets, Place, Records
from reweigh.verify.names import PURCHASE
from reweigh.verify.plain import PlainReader
from reweigh.verify.recent import recent_events
from reweigh.verify.statements import BY_ITEM, BY_TAG, COUNTED, FORGETTING, IN_ALL, JUDGED, REPEATED, TOTALS
from reweigh.verify.within_cap import within_cap

_MEMORY: Final = "1000MB"

_TABLES: Final = """
CREATE TABLE places (place INTEGER, topic VARCHAR, partition INTEGER, type UTINYINT);
CREATE TABLE applied_upto (place INTEGER, upto BIGINT);
CREATE TABLE events (place INTEGER, spot BIGINT, arrived BIGINT, identity UHUGEINT, user_id VARCHAR, product_id VARCHAR,
                     type UTINYINT, time_ms BIGINT, tags VARCHAR[]{numbers});
CREATE TABLE dead (place INTEGER, spot BIGINT, reason VARCHAR);
CREATE TABLE catalogue (product_id VARCHAR, tags VARCHAR[], since BIGINT);
"""


class CatalogueTags(NamedTuple):
    """A product's tags, and since when (epoch ms) the catalogue has given these; None: not known."""

    tags: list[str]
    since_ms: int | None


_ODD_EVENTS: Final = pa.schema(
    [
        ("place", pa.int32()),
        ("spot", pa.int64()),
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("product_id", pa.string()),
        ("type", pa.uint8()),
        ("time_ms", pa.int64()),
        ("tags", pa.list_(pa.string())),
        ("numbers", pa.list_(pa.int64())),
    ]
)


class Recount:
    """Takes records, and counts them into tables of a database in ``folder``, which may grow as large as the log.

    Args:
        folder: An empty folder.
        topics: Topic by event type, in the order of the stored counts.
        window_ms: How long the job remembers an event id.
        expiry_ms: After how long without events the job forgets a tag of a user; 0: never.
        most_tags: How many tags of a user are stored: those with most events, of equal ones the first by name.
        most_products: How many products of a user are stored with their events, by the same rule; 0: none.
        numbers: The members of ``metadata`` of which sum and number are stored with a product, in thousandths.
        recent_events: How many of a user's events are stored: those of the newest time, of equal ones the last by text.
    """

    def __init__(
        self,
        folder: Path,
        topics: Mapping[str, str],
        window_ms: int,
        expiry_ms: int = 0,
        most_tags: int = 1_000,
        most_products: int = 1_000,
        numbers: Sequence[str] = ("duration_ms",),
        recent_events: int = 200,
    ) -> None:
        self.database = duckdb.connect(folder / "recount.duckdb")
        self.database.execute(f"SET memory_limit = '{_MEMORY}'; SET temp_directory = '{folder}'")
        self.database.execute("SET preserve_insertion_order = false; SET enable_progress_bar = false")
        self.numbers = tuple(numbers) if most_products else ()
        columns = "".join(f", n{number} BIGINT" for number in range(len(self.numbers)))
        self.database.execute(_TABLES.format(numbers=columns))
        self.types = tuple(topics)
        self._window_ms, self._expiry_ms = window_ms, expiry_ms
        self._most_tags, self._most_products, self._recent_events = most_tags, most_products, recent_events
        self._type_by_topic = {topic: code for code, topic in enumerate(topics.values())}
        self._plain = PlainReader(self.database, self.types, self.numbers)
        self._careful = CarefulReader(self.types, self.numbers)

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def add(self, records: Records) -> None:
        """Read one batch of records; none may be given twice."""
        self._learn_places(records.places)
        table = records.table.append_column("text", _as_text(records.table["value"]))
        self.database.register("incoming", table)
        self._add_odd(self._plain.read("incoming").fetchall())
        self.database.unregister("incoming")

    def _add_odd(self, rows: Sequence[tuple[int, int, int, bytes | None]]) -> None:
        if not rows:
            return
        types = dict(self.database.sql("SELECT place, type FROM places").fetchall())
        events, dead = [], []
        arrived_at = {}
        for place, spot, arrived, value in rows:
            try:
                odd = self._careful.read(value, types[place], arrived)
            except Dead as exc:
                dead.append((place, spot, str(exc)))
            else:
                events.append({"place": place, "spot": spot, **odd._asdict()})
                arrived_at[place, spot] = arrived
        if dead:
            self.database.executemany("INSERT INTO dead VALUES (?, ?, ?)", dead)
        if events:
            table = pa.Table.from_pylist(events, _ODD_EVENTS)
            times = [arrived_at[each["place"], each["spot"]] for each in events]
            self.database.register("odd_events", table.append_column("arrived", pa.array(times, pa.int64())))
            given = "".join(f", numbers[{number + 1}]" for number in range(len(self.numbers)))
            self.database.execute(f"""
                INSERT INTO events SELECT place, spot, arrived,
                    md5_number(CASE WHEN event_id IS NULL THEN concat('@', topic, ':', partition, ':', spot)
                               ELSE concat('=', event_id) END),
                    user_id, product_id, odd_events.type, time_ms, tags{given}
                FROM odd_events JOIN places USING (place)""")
            self.database.unregister("odd_events")

    def _learn_places(self, places: Sequence[Place]) -> None:
        ((known,),) = self.database.execute("SELECT count(*) FROM places").fetchall()
        for number, place in enumerate(places[known:], known):
            row = (number, place.topic, place.partition, self._type_by_topic[place.topic])
            self.database.execute("INSERT INTO places VALUES (?, ?, ?, ?)", row)

    def know_applied(self, places: Sequence[Place], ends: Offsets) -> None:
        """Take note of the offsets up to which the job is known to have applied everything."""
        self._learn_places(places)
        self.database.execute("DELETE FROM applied_upto")
        for number, place in enumerate(places):
            self.database.execute("INSERT INTO applied_upto VALUES (?, ?)", (number, ends.get(place, 0)))

    def know_catalogue(self, products: Mapping[str, CatalogueTags]) -> None:
        """Take note of the catalogue's tags by product."""
        self.database.execute("DELETE FROM catalogue")
        table = pa.table(
            {
                "product_id": pa.array(list(products), pa.string()),
                "tags": pa.array([each.tags for each in products.values()], pa.list_(pa.string())),
                "since": pa.array([each.since_ms for each in products.values()], pa.int64()),
            }
        )
        self.database.register("given", table)
        self.database.execute("INSERT INTO catalogue SELECT * FROM given")
        self.database.unregister("given")

    def count(self) -> None:
        """Make ``counted``, a row an event that counts or may count, and from it all that is ``wanted``.

        ``unsure`` says that it may or may not have been counted, ``late`` that it may just be being written,
        ``any_tags`` that it took its tags from a catalogue that has changed since, so that they are not known.
        """
        numbers = "".join(f", n{number}" for number in range(len(self.numbers)))
        told = "".join(f", coalesce(n{number}, -1)" for number in range(len(self.numbers)))
        judged = JUDGED.format(window=self._window_ms, numbers=told)
        for statement in (REPEATED, judged, COUNTED.format(numbers=numbers), *self._aggregates()):
            self.database.execute(statement)

    def _aggregates(self) -> list[str]:
        codes = range(len(self.types))
        figures = ", ".join(
            [
                *(f"count(*) FILTER (type = {code}) AS c{code}" for code in codes),
                *(f"count(*) FILTER (type = {code} AND (unsure OR any_tags)) AS u{code}" for code in codes),
                "max(time_ms) AS newest_ms",
                "coalesce(max(time_ms) FILTER (NOT unsure AND NOT any_tags), 0) AS sure_ms",
                "bool_or(late) AS late",
            ]
        )
        bought = self.types.index(PURCHASE)
        by_tag_and_user, by_item = (
            FORGETTING.format(rows=rows, expiry=self._expiry_ms) if self._expiry_ms else rows
            for rows in (BY_TAG, BY_ITEM if self._most_products else f"{BY_ITEM} WHERE false")
        )
        sums = "".join(
            f", coalesce(sum(n{number}), 0) AS s{number}, count(n{number}) AS k{number}"
            for number in range(len(self.numbers))
        )
        return [
            f"CREATE OR REPLACE TABLE any_tags AS SELECT user_id, {figures} "
            "FROM counted WHERE any_tags GROUP BY user_id",
            f"CREATE OR REPLACE TABLE counted_users AS SELECT user_id, tag, {figures} "
            f"FROM ({by_tag_and_user}) GROUP BY user_id, tag",
            within_cap("users", codes, self._most_tags),
            f"CREATE OR REPLACE TABLE counted_items AS SELECT user_id, tag, {figures}{sums} "
            f"FROM ({by_item}) GROUP BY user_id, tag",
            within_cap("items", codes, self._most_products, any_tags="(FROM any_tags WHERE false)"),
            f"CREATE OR REPLACE TABLE wanted_tags AS SELECT tag, {figures} FROM ({BY_TAG}) GROUP BY tag",
            f"CREATE OR REPLACE TABLE wanted_products AS SELECT product_id, {figures} "
            "FROM (SELECT * REPLACE (false AS any_tags) FROM counted) GROUP BY product_id",
            "CREATE OR REPLACE TABLE wanted_purchases AS SELECT user_id, product_id, bool_and(unsure) AS unsure "
            f"FROM counted WHERE type = {bought} GROUP BY user_id, product_id",
            recent_events(self._recent_events),
            TOTALS.format(types=list(self.types)),
            IN_ALL,
        ]


def _as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read bytes as UTF-8; null where they aren't, or where there are none."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.chunked_array([pa.array([_text_or_none(value) for value in values.to_pylist()], pa.string())])


def _text_or_none(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None
