"""What is stored against what was counted: every field, both ways, by SQL that finds only what is not as it must be.

Each statement gives rows of (what, key, field, wanted, stored, allowed): ``allowed`` says that what is stored lies
within what the log leaves open (see :mod:`reweigh.verify.recount`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import duckdb

from reweigh.verify.recent import DIFFERENT


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not what the log says; ``stored`` or ``wanted`` is None where there is nothing."""

    what: str
    key: str
    field: str
    wanted: str | None
    stored: str | None
    events: tuple[str, ...] = ()
    """The newest events behind it: ``topic:partition:offset``."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of one comparison.

    ``differences`` are fields that are wrong; ``open`` those that the log leaves open, with what is stored lying within
    that, though it is not what all events together would give.
    """

    fields: int
    users: int
    differences: list[Difference]
    open: list[Difference]


class Comparer:
    """Compares the tables of a recount with those of what is stored, in the same database.

    Args:
        database: Holds the tables of :class:`~reweigh.verify.recount.Recount` and of what was stored.
        types: The names of the event types.
        weights: A number for each of them.
        numbers: The members of metadata that are added up by user and product.
        most: How many differences of each kind are given.
        every_record: Whether the recount has every record, or only those whose event counts.
    """

    def __init__(
        self,
        database: duckdb.DuckDBPyConnection,
        types: Sequence[str],
        weights: Mapping[str, float],
        most: int,
        *,
        numbers: Sequence[str],
        every_record: bool = True,
    ) -> None:
        self._database = database
        self._codes, self._numbers = range(len(types)), range(len(numbers))
        self._weights = [float(weights.get(name, 0.0)) for name in types]
        self._most, self._totals = most, _TOTALS if every_record else _TOTALS + _OF_EVENTS

    def compare(self) -> Comparison:
        """Compare everything."""
        differences: list[Difference] = []
        left_open: list[Difference] = []
        for statement in (
            self._counts(),
            self._items(),
            self._scores(),
            _PURCHASES,
            DIFFERENT,
            self._statistics("product", "product_id", "SELECT * FROM any_tags WHERE false"),
            self._statistics("tag", "tag", self._any_of_everybody()),
            _TAGS_OF_PRODUCTS,
            self._totals,
            _IN_ALL,
            _OTHERS,
        ):
            self._database.execute(f"CREATE OR REPLACE TEMP TABLE odd_ones AS {statement}")
            for allowed, found in ((False, differences), (True, left_open)):
                rows = self._database.execute(
                    f"SELECT what, key, field, wanted, stored FROM odd_ones WHERE coalesce(allowed, false) = {allowed} "
                    f"ORDER BY key, field LIMIT {self._most}"
                ).fetchall()
                found += [self._with_events(Difference(*row)) for row in rows]
        return Comparison(self._count_fields(), self._count_users(), differences, left_open)

    def _with_events(self, found: Difference) -> Difference:
        condition = _EVENTS_BEHIND.get(found.what)
        if condition is None:
            return found
        rows = self._database.execute(
            f"SELECT concat(topic, ':', partition, ':', spot) FROM counted JOIN places USING (place) WHERE {condition} "
            "ORDER BY time_ms DESC LIMIT 5",
            {"key": found.key, "field": found.field} if "$field" in condition else {"key": found.key},
        ).fetchall()
        return replace(found, events=tuple(place for (place,) in rows))

    def _count_fields(self) -> int:
        kept = "wanted_users WHERE kept"  # each has a count and a score
        items = "wanted_items WHERE kept"
        tables = (
            kept,
            kept,
            items,
            "wanted_purchases",
            "wanted_recent",
            "wanted_products",
            "wanted_tags",
            "wanted_totals",
        )
        return sum(self._one(f"SELECT count(*) FROM {table}") for table in tables)

    def _count_users(self) -> int:
        return self._one("SELECT count(DISTINCT user_id) FROM wanted_users")

    def _one(self, statement: str) -> int:
        ((found,),) = self._database.execute(statement).fetchall()
        return int(found)

    def _counts(self) -> str:
        return f"""
            WITH wanted AS (
                SELECT *, CASE WHEN kept THEN {self._joined()} || ';' || newest_ms END AS text FROM wanted_users
            ),
            odd AS (
                SELECT * FROM wanted FULL JOIN stored_counts USING (user_id, tag)
                WHERE text IS DISTINCT FROM regexp_extract(row, '^[^;]*;[^;]*')
            )
            SELECT 'counts' AS what, user_id AS key, odd.tag AS field, text AS wanted, row AS stored,
                (row IS NULL AND coalesce(may_miss, false))
                    OR ({self._within("split_part(row, ';', 1)", "split_part(row, ';', 2)")}) AS allowed
            FROM odd LEFT JOIN any_tags AS open USING (user_id)"""

    def _items(self) -> str:
        """As the counts, and with sum and number of each metadata number, which are open where an event is."""
        some = " + ".join(f"k{number}" for number in self._numbers) or "0"
        sums = ", ".join(f"s{number} || ':' || k{number}" for number in self._numbers) or "''"
        unsure = " + ".join(f"odd.u{code}" for code in self._codes)
        return f"""
            WITH wanted AS (
                SELECT *, CASE WHEN kept THEN {self._joined()} || ';' || newest_ms END AS text,
                    CASE WHEN {some} > 0 THEN concat_ws(',', {sums}) ELSE '' END AS sums
                FROM wanted_items
            ),
            odd AS (
                SELECT * FROM wanted FULL JOIN stored_items USING (user_id, tag)
                WHERE text IS DISTINCT FROM regexp_extract(row, '^[^;]*;[^;]*')
                    OR (row IS NOT NULL AND sums IS DISTINCT FROM split_part(row, ';', 5))
            )
            SELECT 'items' AS what, user_id AS key, odd.tag AS field,
                CASE WHEN text IS NOT NULL THEN concat_ws(' ', text, nullif(sums, '')) END AS wanted, row AS stored,
                (row IS NULL AND coalesce(may_miss, false))
                    OR ({self._within("split_part(row, ';', 1)", "split_part(row, ';', 2)")}
                        AND (sums IS NOT DISTINCT FROM split_part(row, ';', 5) OR coalesce({unsure}, 0) > 0)) AS allowed
            FROM odd LEFT JOIN (FROM any_tags WHERE false) AS open USING (user_id)"""

    def _statistics(self, what: str, name: str, any_of: str) -> str:
        """Compare the statistics of products or tags; ``any_of`` gives what may be counted for each of them besides."""
        return f"""
            WITH wanted AS (SELECT *, {self._joined()} || ';' || newest_ms AS text FROM wanted_{what}s),
            odd AS (
                SELECT * FROM wanted FULL JOIN (SELECT *, {_SHORT_ROW} AS short FROM stored_{what}s) USING ({name})
                WHERE text IS DISTINCT FROM short
            )
            SELECT '{what}' AS what, {name} AS key, '' AS field, text AS wanted, row AS stored,
                {self._within("split_part(short, ';', 1)", "split_part(short, ';', 2)")} AS allowed
            FROM odd LEFT JOIN ({any_of}) AS open ON true"""

    def _any_of_everybody(self) -> str:
        sums = ", ".join(f"sum(c{code}) AS c{code}" for code in self._codes)
        return f"SELECT {sums}, max(newest_ms) AS newest_ms FROM any_tags"

    def _joined(self) -> str:
        return f"concat_ws(',', {', '.join(f'c{code}' for code in self._codes)})"

    def _within(self, counts: str, newest: str) -> str:
        """Whether each count lies between the sure ones and all that may be, and so does the newest time.

        ``odd`` is what was counted and is stored; ``open`` what may carry any tag. Either may be missing.
        """
        bounds = [
            f"coalesce(TRY_CAST(split_part({counts}, ',', {code + 1}) AS BIGINT), 0) "
            f"BETWEEN coalesce(odd.c{code} - odd.u{code}, 0) AND coalesce(odd.c{code}, 0) + coalesce(open.c{code}, 0)"
            for code in self._codes
        ]
        newest_of_all = "greatest(coalesce(odd.newest_ms, 0), coalesce(open.newest_ms, 0))"
        in_time = f"TRY_CAST({newest} AS BIGINT) BETWEEN coalesce(odd.sure_ms, 0) AND {newest_of_all}"
        return f"{' AND '.join(bounds)} AND (row IS NULL OR {in_time})"

    def _scores(self) -> str:
        """Scores must follow from the counts stored beside them, whatever these are: those are compared by themselves.

        Σ weight × count in the order of the event types, from 0, in doubles; an integral one without a fraction.
        """
        score = "0.0::DOUBLE"
        for code, weight in enumerate(self._weights):
            count = f"TRY_CAST(split_part(split_part(row, ';', 1), ',', {code + 1}) AS DOUBLE)"
            score += f" + {weight!r}::DOUBLE * coalesce({count}, 0)"
        return f"""
            WITH scored AS (
                SELECT user_id, tag, row, score, least(greatest(TRY({score}), {-_LARGEST!r}), {_LARGEST!r}) AS wanted
                FROM stored_counts FULL JOIN stored_scores USING (user_id, tag)
            )
            SELECT 'score' AS what, user_id AS key, tag AS field,
                CASE WHEN row IS NOT NULL THEN wanted::VARCHAR END AS wanted, score AS stored, false AS allowed
            FROM scored
            WHERE row IS NULL OR score IS NULL OR TRY_CAST(score AS DOUBLE) IS DISTINCT FROM wanted
                OR (wanted = trunc(wanted)) IS DISTINCT FROM regexp_full_match(score, '-?[0-9]+')"""


_LARGEST: Final = 1.7976931348623157e308

_EVENTS_BEHIND: Final = {
    "counts": "user_id = $key AND list_contains(tags, $field)",
    "items": "user_id = $key AND product_id = $field",
    "purchase": "user_id = $key AND product_id = $field",
    "product": "product_id = $key",
    "tags of product": "product_id = $key",
    "tag": "list_contains(tags, $key)",
}

_JSON: Final = "CASE WHEN json_valid(row) THEN row END"

_SHORT_ROW: Final = f"concat(trim(json_extract({_JSON}, '$[0]')::VARCHAR, '[]'), ';', json_extract({_JSON}, '$[1]'))"
"""A row of statistics, ``[[1,0,0],1700000000000,…]``, as ``1,0,0;1700000000000``."""

_PURCHASES: Final = """
SELECT 'purchase' AS what, user_id AS key, product_id AS field,
    CASE WHEN unsure IS NOT NULL THEN 'bought' END AS wanted,
    CASE WHEN held THEN 'bought' END AS stored, unsure AS allowed
FROM wanted_purchases FULL JOIN (SELECT *, true AS held FROM stored_purchases) USING (user_id, product_id)
WHERE unsure IS NULL OR held IS NULL
"""

# Which of its events' tags a product's statistics show is open, as long as it is one of them.
_TAGS_OF_PRODUCTS: Final = f"""
WITH shown AS (
    SELECT product_id, row, from_json(json_extract({_JSON}, '$[2]'), '["VARCHAR"]') AS tags FROM stored_products
), said AS (
    SELECT DISTINCT product_id, list_sort(tags) AS tags, any_tags FROM counted WHERE len(tags) > 0 OR any_tags
), possible AS (
    SELECT product_id, list(tags) AS lists, bool_or(any_tags) AS open FROM said GROUP BY product_id
)
SELECT 'tags of product' AS what, product_id AS key, '' AS field, left(lists::VARCHAR, 200) AS wanted,
    row AS stored, open AS allowed
FROM shown LEFT JOIN possible USING (product_id)
WHERE CASE WHEN lists IS NULL THEN len(shown.tags) > 0 ELSE NOT list_contains(lists, list_sort(shown.tags)) END
"""

_TOTALS: Final = """
SELECT 'total' AS what, name AS key, '' AS field, count::VARCHAR AS wanted, row AS stored,
    coalesce(TRY_CAST(row AS BIGINT), 0) BETWEEN count - unsure AND count AS allowed
FROM wanted_totals FULL JOIN stored_totals USING (name)
WHERE count::VARCHAR IS DISTINCT FROM row
"""

_OF_EVENTS: Final = " AND NOT (starts_with(name, 'read:') OR starts_with(name, 'dead:'))"

# A row of its own, since each total by itself leaves open what one id with several contents was.
_IN_ALL: Final = """
WITH applied AS (
    SELECT sum(TRY_CAST(row AS BIGINT)) AS total FROM stored_totals WHERE starts_with(name, 'applied:')
)
SELECT 'total' AS what, 'applied' AS key, '' AS field, events::VARCHAR AS wanted, total::VARCHAR AS stored,
    coalesce(total, 0) BETWEEN least AND most AS allowed
FROM wanted_in_all, applied
WHERE coalesce(total, 0) <> events
"""

_OTHERS: Final = """
SELECT 'unknown key' AS what, key, '' AS field, NULL::VARCHAR AS wanted, 'a key' AS stored, false AS allowed
FROM stored_others
"""
