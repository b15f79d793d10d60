"""What the contract leaves to arrival, told apart: how often each kind of it occurs, and where the first ones stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import duckdb


@dataclass(frozen=True, slots=True)
class Cases:
    """Cases of one kind: how many there are, and the places of the first ones' records.

    A place is ``topic:partition:offset``; of one case, too, no more are given than of cases of one kind.
    """

    count: int
    first: list[list[str]]


@dataclass(frozen=True, slots=True)
class LeftToArrival:
    """Ids with different contents, ids repeated beyond the window, and events whose tags are not known any more."""

    contested: Cases
    beyond_window: Cases
    any_tags: Cases


def left_to_arrival(database: duckdb.DuckDBPyConnection, most: int) -> LeftToArrival:
    """List it from the tables of a :class:`~reweigh.verify.recount.Recount`, the first ``most`` of each kind."""

    def cases(how_many: str, first: str) -> Cases:
        ((count,),) = database.execute(how_many).fetchall()
        return Cases(int(count), [places for (places,) in database.execute(first, {"most": most}).fetchall()])

    def ids(condition: str) -> Cases:
        return cases(_IDS.format(condition=condition), _FIRST_IDS.format(condition=condition))

    return LeftToArrival(ids("contested"), ids("beyond_window"), cases(_EVENTS, _FIRST_EVENTS))


_PLACE: Final = "concat(topic, ':', partition, ':', spot)"

_IDS: Final = "SELECT count(DISTINCT identity) FROM judged WHERE {condition}"

# Of an id's records those that may count come first: of different contents one record each.
_FIRST_IDS: Final = f"""
WITH first AS (
    SELECT identity, min(row(place, spot)) AS beginning FROM judged WHERE {{condition}}
    GROUP BY identity ORDER BY beginning LIMIT $most
)
SELECT list({_PLACE} ORDER BY may_count DESC, place, spot)[:$most]
FROM first JOIN judged USING (identity) JOIN places USING (place) GROUP BY identity, beginning ORDER BY beginning
"""

_EVENTS: Final = "SELECT count(*) FROM counted WHERE any_tags"

_FIRST_EVENTS: Final = f"""
SELECT [{_PLACE}] FROM counted JOIN places USING (place) WHERE any_tags ORDER BY place, spot LIMIT $most
"""
