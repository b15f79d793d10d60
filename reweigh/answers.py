"""What the service would have answered: the rules of ``reccore.ranking`` on arrays, for many people at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reccore.ranking import PRIOR_EVENTS, typical_weight
from reweigh.replay import Dataset, Flags, Integers

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the job keeps, by product, tag and person, for one set of weights.

    ``popularity`` is by product and ``everybody`` by tag; ``tags`` and ``points`` are the tagged events in the order of
    persons, of which person ``u`` has ``bounds[u]:bounds[u + 1]``; ``bought`` the same for purchased products.
    """

    popularity: Floats
    everybody: Floats
    typical: float
    tags: Integers
    points: Floats
    bounds: Integers
    bought: Integers
    bought_bounds: Integers


def statistics(data: Dataset, history: Flags, weights: Sequence[float]) -> Statistics:
    """Count and weigh the events flagged in ``history``."""
    order = np.flatnonzero(history)[np.argsort(data.users[history], kind="stable")]
    users, types = data.users[order], data.types[order]
    points = np.asarray(weights, dtype=np.float64)[types]
    tags, of_event = _spread(data, data.tag_sets[order])
    people = np.arange(len(data.user_ids) + 1)
    bought = types == data.event_types.names.index("purchase")
    return Statistics(
        popularity=_summed(data.products[order], points, len(data.product_ids)),
        everybody=_summed(tags, points[of_event], len(data.tag_names)),
        typical=typical_weight(np.bincount(types[of_event], minlength=len(weights)).tolist(), weights),
        tags=tags,
        points=points[of_event],
        bounds=np.searchsorted(users[of_event], people),
        bought=data.products[order][bought],
        bought_bounds=np.searchsorted(users[bought], people),
    )


def _summed(places: Integers, values: Floats, size: int) -> Floats:
    return np.bincount(places, values, size).astype(np.float64)


def _spread(data: Dataset, sets: Integers) -> tuple[Integers, Integers]:
    """Give the tags of a row of tag sets one after another, and for each tag the place of its set in the row."""
    sizes = data.sets.sizes[sets]
    of_row = np.repeat(np.arange(len(sets)), sizes)
    within = np.arange(len(of_row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return data.sets.tags[data.sets.starts[sets][of_row] + within], of_row


class Answers:
    """Ranks products for people, by the statistics of one set of weights."""

    def __init__(self, data: Dataset, kept: Statistics) -> None:
        self._kept = kept
        self._tags, self._of_product = _spread(data, data.set_of_product)
        self._sizes = data.sets.sizes[data.set_of_product]
        positive = np.maximum(kept.everybody, 0.0)
        self._everybody, self._everybody_total = positive, float(positive.sum())

    def affinity(self, user: int) -> Floats:
        """The user's affinity to every product: :func:`reccore.ranking.affinity`."""
        kept = self._kept
        own = slice(kept.bounds[user], kept.bounds[user + 1])
        scores = np.maximum(_summed(kept.tags[own], kept.points[own], len(self._everybody)), 0.0)
        total = float(scores.sum())
        if total <= 0 or self._everybody_total <= 0:
            return np.ones(len(self._sizes))
        lifts = np.where(scores > 0, 1.0, 0.0)
        shared = (scores > 0) & (self._everybody > 0)
        lifts[shared] = (scores[shared] / total) / (self._everybody[shared] / self._everybody_total)
        trust = total / (total + PRIOR_EVENTS * kept.typical)
        sums = np.bincount(self._of_product, lifts[self._tags], len(self._sizes))
        mean = sums / np.maximum(self._sizes, 1)
        return np.where(self._sizes > 0, (1.0 - trust) + trust * mean, 1.0)

    def recommended(self, user: int, n: int) -> Integers:
        """The ``n`` best products, best first: :func:`reccore.ranking.rank_products` without the user's purchases."""
        return self._best(self._kept.popularity * self.affinity(user), user, n)

    def popular(self, user: int, n: int) -> Integers:
        """The ``n`` most popular products, best first, without the user's purchases."""
        return self._best(self._kept.popularity.copy(), user, n)

    def bought(self, user: int) -> Integers:
        """The products that the user has bought, some of them more than once."""
        return self._kept.bought[self._kept.bought_bounds[user] : self._kept.bought_bounds[user + 1]]

    @property
    def products(self) -> int:
        """How many products can be recommended at all: those of a popularity above 0."""
        return int((self._kept.popularity > 0).sum())

    def _best(self, scores: Floats, user: int, n: int) -> Integers:
        scores[self.bought(user)] = 0.0
        if len(scores) > 8 * n:
            # All that are no worse than the n-th, so that a tie at the end still goes to the lower id.
            candidates = np.flatnonzero(scores >= np.partition(scores, -n)[-n])
        else:
            candidates = np.arange(len(scores))
        candidates = candidates[scores[candidates] > 0]
        return candidates[np.argsort(-scores[candidates], kind="stable")][:n]
