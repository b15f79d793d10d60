"""The ranking of :mod:`reccore.ranking` over arrays, for one snapshot of the statistics and one weights version.

Every product's score comes from the same operations in the same order as in ``reccore.ranking.rank_products``, so the
results are equal to the last bit; a property test holds it to that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from reccore import ranking
from reccore.ranking import RankedProduct, Taste
from reccore.scoring import score
from reccore.weights import Weights
from recsvc.statistics import Snapshot

Doubles = npt.NDArray[np.float64]
_LARGEST = float(np.finfo(np.float64).max)
_POPULAR_KEPT = 400


class RankingTable:
    """Popularity of all products, and shares of all tags, at one version of the weights."""

    def __init__(self, snapshot: Snapshot, weights: Weights) -> None:
        self.snapshot = snapshot
        values = weights.values
        self._popularity = _scores(snapshot, values)
        self._none_popular = ~(self._popularity > 0)
        structure = snapshot.structure
        self._divisors = np.maximum(structure.tags_each, 1.0)
        self._untagged = np.flatnonzero(structure.tags_each == 0)
        scores = {tag: score(counts, values) for tag, counts in snapshot.tag_counts.items()}
        self._shares = ranking.shares(scores)
        columns = zip(*(_padded(counts, len(values)) for counts in snapshot.tag_counts.values()), strict=True)
        self._typical = ranking.typical_weight([sum(column) for column in columns], values)

    def taste(self, user_scores: Mapping[str, float]) -> Taste:
        """Compare a user's tag scores with everybody's."""
        return ranking.taste_beside(user_scores, self._shares, self._typical)

    def rank(self, user: Taste, *, left_out: Collection[str], n: int) -> list[RankedProduct]:
        """Give the ``n`` best products, as ``reccore.ranking.rank_products`` does."""
        structure = self.snapshot.structure
        if not structure.ids:
            return []
        suits = self._affinity(user)
        with np.errstate(over="ignore"):
            scores = np.minimum(self._popularity * suits, _LARGEST)
        scores[self._none_popular] = -np.inf
        if user.trust >= 1.0:  # else no affinity is 0
            scores[suits <= 0] = -np.inf
        index = structure.index
        scores[[index[each] for each in left_out if each in index]] = -np.inf
        best = _best(scores, n)
        columns = (scores[best].tolist(), self._popularity[best].tolist(), suits[best].tolist())
        return [RankedProduct(structure.ids[i], *rest) for i, *rest in zip(best.tolist(), *columns, strict=True)]

    def popular(self, *, left_out: Collection[str], n: int) -> list[RankedProduct]:
        """Give the ``n`` most popular products, as ``reccore.ranking.rank_popular`` does."""
        kept, complete = self._popular
        found = [each for each in kept if each.product_id not in left_out][:n]
        return found if complete or len(found) == n else self.rank(ranking.NO_TASTE, left_out=left_out, n=n)

    def newest_ms(self, products: Collection[RankedProduct]) -> int | None:
        """Time of the newest event with any of the products, in epoch milliseconds."""
        index = self.snapshot.structure.index
        return max((int(self.snapshot.newest_ms[index[each.product_id]]) for each in products), default=None)

    @cached_property
    def _popular(self) -> tuple[list[RankedProduct], bool]:
        kept = self.rank(ranking.NO_TASTE, left_out=(), n=_POPULAR_KEPT)
        return kept, len(kept) < _POPULAR_KEPT

    def _affinity(self, user: Taste) -> Doubles:
        structure = self.snapshot.structure
        lifts = np.zeros(len(structure.tag_names) + 1)
        for tag, lift in user.lifts.items():
            position = structure.tag_index.get(tag)
            if position is not None:
                lifts[position] = lift
        suits = np.zeros(len(structure.ids))
        for column in structure.tags:
            suits += lifts.take(column)
        suits /= self._divisors
        suits *= user.trust
        suits += 1.0 - user.trust
        suits[self._untagged] = 1.0
        return suits


def _scores(snapshot: Snapshot, weights: tuple[float, ...]) -> Doubles:
    total = np.zeros(len(snapshot.structure.ids))
    with np.errstate(over="ignore", invalid="ignore"):
        for column, weight in enumerate(weights):
            total += weight * snapshot.counts[:, column]
    total[np.isnan(total)] = 0.0
    return np.clip(total, -_LARGEST, _LARGEST)


def _best(scores: Doubles, n: int) -> npt.NDArray[np.intp]:
    """Positions of the ``n`` largest finite scores, largest first, ties by position (the products are sorted by id)."""
    if len(scores) > n:
        threshold = np.partition(scores, len(scores) - n)[len(scores) - n]
        positions = np.flatnonzero(scores >= threshold)
    else:
        positions = np.arange(len(scores))
    positions = positions[scores[positions] > -np.inf]
    return positions[np.argsort(-scores[positions], kind="stable")][:n]


def _padded(counts: tuple[int, ...], width: int) -> tuple[int, ...]:
    return (*counts, *(0,) * (width - len(counts)))[:width]
