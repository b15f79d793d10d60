"""The ranking of :mod:`reccore.ranking` over arrays, for one snapshot of the statistics and one weights version.

Every product's score comes from the same operations in the same order as in ``reccore.ranking.rank_products``, so the
results are equal to the last bit; a property test holds it to that.

The products stand by popularity. No affinity is above that of a product which has only the user's best tag, so when
the next product's popularity times that is less than the worst score found, the rest can't change the answer and is
not looked at (the threshold algorithm of Fagin, Lotem and Naor, 2001, for one sorted list).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from reccore import ranking
from reccore.ranking import RankedProduct, Taste
from reccore.scoring import score
from reccore.weights import Weights
from recsvc.statistics import Indices, Snapshot
from recsvc.wanted import Mask

Doubles = npt.NDArray[np.float64]
_LARGEST = float(np.finfo(np.float64).max)
_FIRST: Final = 256
"""How many products are looked at first; each further look takes eight times as many."""
_ROUNDING: Final = 1.0 + 1e-9
"""More than the few operations that make an affinity can be off by."""


class RankingTable:
    """Popularity of all products, and shares of all tags, at one version of the weights."""

    def __init__(self, snapshot: Snapshot, weights: Weights, *, first: int = _FIRST) -> None:
        self.snapshot, self._first = snapshot, first
        values, structure = weights.values, snapshot.structure
        popularity = _scores(snapshot, values)
        scoring = np.flatnonzero(popularity > 0)  # the others are not recommended
        # Positions in the structure, the most popular first, ties by position: the products are sorted by id there.
        self._positions = scoring[np.argsort(-popularity[scoring], kind="stable")]
        self._popularity = popularity[self._positions]
        self._place = np.full(len(popularity), len(popularity))
        self._place[self._positions] = np.arange(len(self._positions))
        self._tags = [column[self._positions] for column in structure.tags]
        self._divisors = np.maximum(structure.tags_each, 1.0)[self._positions]
        self._untagged = structure.tags_each[self._positions] == 0
        scores = {tag: score(counts, values) for tag, counts in snapshot.tag_counts.items()}
        self._shares = ranking.shares(scores)
        columns = zip(*(_padded(counts, len(values)) for counts in snapshot.tag_counts.values()), strict=True)
        self._typical = ranking.typical_weight([sum(column) for column in columns], values)

    def taste(self, user_scores: Mapping[str, float]) -> Taste:
        """Compare a user's tag scores with everybody's."""
        return ranking.taste_beside(user_scores, self._shares, self._typical)

    def taste_of_tags(self, tags: Collection[str]) -> Taste:
        """Give the taste of somebody who likes these tags alike, and nothing else."""
        return ranking.taste_beside(dict.fromkeys(tags, 1.0), self._shares, 0.0)

    def rank(
        self, user: Taste, *, left_out: Collection[str], n: int, allowed: Mask | None = None
    ) -> list[RankedProduct]:
        """Give the ``n`` best products, as ``reccore.ranking.rank_products`` does, of those that are ``allowed``.

        ``allowed`` is a mask over the snapshot's products; None: all of them.
        """
        lifts = self._lifts(user)
        highest = max(1.0 - user.trust + user.trust * float(lifts.max()), 1.0) * _ROUNDING
        index = self.snapshot.structure.index
        places = self._place[[index[each] for each in left_out if each in index]]
        size = self._first
        while True:
            suits = self._affinity(lifts, user.trust, size)
            with np.errstate(over="ignore"):
                scores = np.minimum(self._popularity[:size] * suits, _LARGEST)
            if user.trust >= 1.0:  # else no affinity is 0
                scores[suits <= 0] = -np.inf
            scores[places[places < len(scores)]] = -np.inf
            if allowed is not None:
                scores[~allowed[self._positions[:size]]] = -np.inf
            best = self._best(scores, n)
            if size >= len(self._popularity):
                break
            if len(best) == n and float(self._popularity[size]) * highest < scores[best[-1]]:
                break
            size *= 8
        columns = (scores[best].tolist(), self._popularity[best].tolist(), suits[best].tolist())
        ids = self.snapshot.structure.ids
        positions = self._positions[best].tolist()
        return [RankedProduct(ids[i], *rest) for i, *rest in zip(positions, *columns, strict=True)]

    def popular(self, *, left_out: Collection[str], n: int, allowed: Mask | None = None) -> list[RankedProduct]:
        """Give the ``n`` most popular products, as ``reccore.ranking.rank_popular`` does, likewise."""
        return self.rank(ranking.NO_TASTE, left_out=left_out, n=n, allowed=allowed)

    @property
    def recommendable(self) -> int:
        """How many products can be recommended at all: those of a popularity above 0."""
        return len(self._popularity)

    def newest_ms(self, products: Collection[RankedProduct]) -> int | None:
        """Time of the newest event with any of the products, in epoch milliseconds."""
        index = self.snapshot.structure.index
        return max((int(self.snapshot.newest_ms[index[each.product_id]]) for each in products), default=None)

    def _lifts(self, user: Taste) -> Doubles:
        """The user's lift of each tag of the structure, and 0 for none."""
        structure = self.snapshot.structure
        lifts = np.zeros(len(structure.tag_names) + 1)
        for tag, lift in user.lifts.items():
            position = structure.tag_index.get(tag)
            if position is not None:
                lifts[position] = lift
        return lifts

    def _affinity(self, lifts: Doubles, trust: float, size: int) -> Doubles:
        """Affinities of the ``size`` most popular products."""
        suits = np.zeros(len(self._popularity[:size]))
        for column in self._tags:
            suits += lifts.take(column[:size])
        suits /= self._divisors[:size]
        suits *= trust
        suits += 1.0 - trust
        suits[self._untagged[:size]] = 1.0
        return suits

    def _best(self, scores: Doubles, n: int) -> Indices:
        """Places of the ``n`` largest finite scores, largest first, ties by product id."""
        if len(scores) > n:
            threshold = np.partition(scores, len(scores) - n)[len(scores) - n]
            places = np.flatnonzero(scores >= threshold)
        else:
            places = np.arange(len(scores))
        places = places[scores[places] > -np.inf]
        order: Indices = np.lexsort((self._positions[places], -scores[places]))
        best: Indices = places[order[:n]]
        return best


def _scores(snapshot: Snapshot, weights: tuple[float, ...]) -> Doubles:
    total = np.zeros(len(snapshot.structure.ids))
    with np.errstate(over="ignore", invalid="ignore"):
        for column, weight in enumerate(weights):
            total += weight * snapshot.counts[:, column]
    total[np.isnan(total)] = 0.0
    return np.clip(total, -_LARGEST, _LARGEST)


def _padded(counts: tuple[int, ...], width: int) -> tuple[int, ...]:
    return (*counts, *(0,) * (width - len(counts)))[:width]
