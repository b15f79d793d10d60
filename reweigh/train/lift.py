"""Most popular, and lift × popularity, as the service ranks without a model: on what is known while training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reccore.scoring import score
from reccore.weights import Weights
from recsvc.ranking_table import RankingTable
from recsvc.statistics import Collected
from reweigh.train.events import KNOWN_EVENTS, EventTable
from reweigh.train.interactions import Person

# An event counts by its own tags, else the catalogue's; a product has the catalogue's, else its newest event's.
_TAGGED: Final = f"""(
    SELECT known.* EXCLUDE (tags), unnest(coalesce(known.tags, catalogue.tags, [])) AS tag
    FROM {KNOWN_EVENTS} AS known LEFT JOIN catalogue USING (product_id)
)"""


class LiftAnswers:
    """Ranks products for the people of whom something is held out."""

    def __init__(self, table: EventTable, weights: Weights) -> None:
        self._values = weights.values
        database, counts, width = table.database, table.counts(), len(table.types)
        collected = Collected(width)
        rows = database.execute(
            f"SELECT product_id, coalesce(any_value(catalogue.tags), arg_max(known.tags, time_ms), []), {counts} "
            f"FROM {KNOWN_EVENTS} AS known LEFT JOIN catalogue USING (product_id) GROUP BY product_id"
        )
        for product_id, tags, *row in rows.fetchall():
            collected.put_product(product_id, (row, 0, tags))
        for tag, *row in database.execute(f"SELECT tag, {counts} FROM {_TAGGED} GROUP BY tag").fetchall():
            collected.put_tag(tag, (row, 0))
        self._table = RankingTable(collected.snapshot(), weights)
        self._tags: dict[str, dict[str, Sequence[int]]] = {}
        own = database.execute(
            f"SELECT user_id, tag, {counts} FROM {_TAGGED} SEMI JOIN sampled USING (user_id) GROUP BY user_id, tag"
        )
        for user_id, tag, *row in own.fetchall():
            self._tags.setdefault(user_id, {})[tag] = row

    def ranked(self, person: Person, n: int) -> list[str]:
        """The ``n`` best products by lift × popularity."""
        own = self._tags.get(person.user_id, {})
        taste = self._table.taste({tag: score(row, self._values) for tag, row in own.items()})
        return [each.product_id for each in self._table.rank(taste, left_out=person.left_out, n=n)]

    def popular(self, person: Person, n: int) -> list[str]:
        """The ``n`` most popular products."""
        return [each.product_id for each in self._table.popular(left_out=person.left_out, n=n)]
