"""What the service would have answered: its own ranking, on what the job would have kept of a part of the events."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from reccore.ranking import RankedProduct
from reccore.scoring import score
from reccore.weights import Weights
from recsvc.ranking_table import RankingTable
from recsvc.statistics import Collected
from reweigh.dataset import Dataset, Flags, Integers


class Answers:
    """Ranks products for people, by the events flagged in ``history`` and one set of weights.

    People and products go by their numbers in ``data``. Left out is what somebody has had to do with, or with
    ``left_out`` by that event type.
    """

    def __init__(self, data: Dataset, history: Flags, weights: Weights, left_out: str | None = "purchase") -> None:
        order = np.flatnonzero(history)[np.argsort(data.users[history], kind="stable")]
        users, products, types = data.users[order], data.products[order], data.types[order]
        tags, of_event = _spread(data, data.tag_sets[order])
        people = np.arange(len(data.user_ids) + 1)
        self._values, self._tag_names, self._product_ids = weights.values, data.tag_names, data.product_ids
        self._number = {product_id: number for number, product_id in enumerate(data.product_ids)}
        # The tagged events in the order of persons, of which person u has bounds[u]:bounds[u + 1]; the rest likewise.
        self._tags, self._types = tags, types[of_event]
        self._bounds = np.searchsorted(users[of_event], people)
        leaves = types >= 0 if left_out is None else types == data.event_types.names.index(left_out)
        self._left_out = products[leaves]
        self._left_out_bounds = np.searchsorted(users[leaves], people)
        of_products = _counted(products, types, len(data.product_ids), len(weights.names))
        self._table = RankingTable(_collected(data, of_products, self._of_tags(tags, self._types)).snapshot(), weights)

    def recommended(self, user: int, n: int) -> list[int]:
        """The ``n`` best products, best first, without those left out."""
        own = slice(self._bounds[user], self._bounds[user + 1])
        counts = self._of_tags(self._tags[own], self._types[own])
        taste = self._table.taste({tag: score(row, self._values) for tag, row in counts.items()})
        return self._numbers(self._table.rank(taste, left_out=self._left_out_ids(user), n=n))

    def popular(self, user: int, n: int) -> list[int]:
        """The ``n`` most popular products, best first, without those left out."""
        return self._numbers(self._table.popular(left_out=self._left_out_ids(user), n=n))

    def left_out(self, user: int) -> Integers:
        """The products that the user isn't recommended, some of them more than once."""
        own: Integers = self._left_out[self._left_out_bounds[user] : self._left_out_bounds[user + 1]]
        return own

    @property
    def products(self) -> int:
        """How many products can be recommended at all."""
        return self._table.recommendable

    def _left_out_ids(self, user: int) -> Collection[str]:
        return {self._product_ids[number] for number in self.left_out(user).tolist()}

    def _numbers(self, ranked: list[RankedProduct]) -> list[int]:
        return [self._number[each.product_id] for each in ranked]

    def _of_tags(self, tags: Integers, types: Integers) -> dict[str, list[int]]:
        """Counts by event type of each tag that occurs."""
        present, places = np.unique(tags, return_inverse=True)
        rows = _counted(places, types, len(present), len(self._values)).tolist()
        return {self._tag_names[tag]: row for tag, row in zip(present.tolist(), rows, strict=True)}


def _collected(data: Dataset, of_products: Integers, of_tags: dict[str, list[int]]) -> Collected:
    """Put counts where the service would have read them."""
    collected = Collected(of_products.shape[1])
    for number in np.flatnonzero(of_products.any(axis=1)).tolist():
        tags = [data.tag_names[tag] for tag in data.sets.of(data.set_of_product[number]).tolist()]
        collected.put_product(data.product_ids[number], (of_products[number].tolist(), 0, tags))
    for tag, row in of_tags.items():
        collected.put_tag(tag, (row, 0))
    return collected


def _counted(places: Integers, types: Integers, rows: int, width: int) -> Integers:
    """Count by place and event type: an array of ``rows`` by ``width``."""
    return np.bincount(places * width + types, minlength=rows * width).reshape(rows, width)


def _spread(data: Dataset, sets: Integers) -> tuple[Integers, Integers]:
    """Give the tags of a row of tag sets one after another, and for each tag the place of its set in the row."""
    sizes = data.sets.sizes[sets]
    of_row = np.repeat(np.arange(len(sets)), sizes)
    within = np.arange(len(of_row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return data.sets.tags[data.sets.starts[sets][of_row] + within], of_row
