"""Ranks products for a user by a trained model and the user's history as it is now.

A history gives each product a weight s, for instance Σ over event types of weight × count. Two rankings are blended:

- neighbours: score_j = Σ over the history of s_i × sim_ij, linear in the weights (Sarwar et al. 2001);
- factors: the user's vector is folded into the item factors Y of implicit ALS as the training itself would compute it,
  x = A⁻¹ Σ c_i y_i over s_i > 0, with A = YᵀY + λI + Σ (c_i − 1) y_i y_iᵀ and c_i = 1 + α |s_i| ÷ mean |s|; a product
  of negative weight is one that the user is sure not to want (preference 0). score_j = x·y_j is the sum of
  c_i × y_iᵀA⁻¹y_j over the history (Hu, Koren and Volinsky 2008, section 5).

Each is divided by a scale of its own for the user: the largest Σ |s_i| × sim_ij of any product, and the largest
prediction for a product of the history. So both are of one magnitude, multiplying all weights by a number changes
nothing, and a score remains a sum of parts, one a product of the history and ranking.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recsvc.models.exact import rounded
from recsvc.models.model import Doubles, Floats, Model

NEIGHBOURS: Final = "neighbours"
ALS: Final = "als"

Places = npt.NDArray[np.intp]

_ALL_UP_TO: Final = 4_096
"""With so many products each of them is looked at."""
_MOST_POPULAR: Final = 1_024
"""With more, these and the neighbours of the history are."""
_LEAST_SCALE: Final = 1e-6
"""A ranking whose scale is no more than this says nothing; parts divided by less would be too large to be exact."""


class Part(NamedTuple):
    """What one product of the history adds to a score, by one of the rankings."""

    product_id: str
    source: str
    value: float


class Scored(NamedTuple):
    """A recommended product. ``score`` is the exact sum of the parts; ``source`` is the ranking that gives most of it.

    ``parts`` are given where they are asked for, the largest first.
    """

    product_id: str
    score: float
    source: str
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class _History:
    """The products of a history that the model knows: places, and weights of a magnitude of at most 1."""

    places: Places
    weights: Doubles


class Scorer:
    """Answers by one model; it never changes, so threads may share it.

    Args:
        model: What was trained.
        blend: Takes the place of the model's own.
        all_up_to: With so many products each of them is looked at.
        most_popular: With more, so many of the most popular ones are, and the neighbours of the history.
    """

    def __init__(
        self,
        model: Model,
        *,
        blend: float | None = None,
        all_up_to: int = _ALL_UP_TO,
        most_popular: int = _MOST_POPULAR,
    ) -> None:
        self.model = model
        self._place = {product_id: place for place, product_id in enumerate(model.product_ids)}
        self._blend = model.parameters.blend if blend is None else blend
        self._regular = model.gram + model.parameters.regularization * np.eye(len(model.gram))
        products = len(model.product_ids)
        self._fixed = products if products <= all_up_to else min(most_popular, products)

    def rank(
        self,
        history: Mapping[str, float],
        *,
        left_out: Collection[str],
        n: int,
        explain: bool = False,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> list[Scored]:
        """Give the ``n`` best products, by score descending, then the more popular in training first.

        ``allowed`` is a mask over the model's products; None: all of them are.

        Only those whose score is above 0; none for a history without a product that the model knows and that weighs
        something. ``history`` is product → weight, finite, negative for what the user dislikes. Raises ``ValueError``
        for a weight that is not finite.
        """
        known = self._known(history)
        if known is None:
            return []
        near = _Neighbours(self.model, known, self._fixed)
        folded = _Folded(self.model, self._regular, known)
        candidates = near.candidates
        near_factor = (1.0 - self._blend) / near.scale if near.scale > _LEAST_SCALE else 0.0
        folded_factor = self._blend / folded.scale if folded.scale > _LEAST_SCALE else 0.0
        scores = near_factor * near.scores
        if folded_factor:
            scores += folded_factor * folded.scores(candidates, self._fixed)
        if not_these := [self._place[each] for each in left_out if each in self._place]:
            scores[near.positions(not_these)] = -np.inf
        if allowed is not None:
            scores[~allowed[candidates]] = -np.inf
        best = candidates[_best(scores, candidates, n)]
        near_parts = rounded(near_factor * near.parts(best))
        folded_parts = rounded(folded_factor * folded.parts(best))
        return self._scored(known, best, near_parts, folded_parts, explain)

    def neighbours(
        self, product_id: str, *, left_out: Collection[str], n: int, allowed: npt.NDArray[np.bool_] | None = None
    ) -> list[Scored]:
        """Give the ``n`` nearest neighbours of a product by similarity; none for one that the model does not know."""
        place = self._place.get(product_id)
        if place is None:
            return []
        ids, found = self.model.product_ids, list[Scored]()
        pairs = zip(self.model.neighbours[place].tolist(), self.model.similarities[place].tolist(), strict=True)
        for similarity, other in sorted(((value, -other) for other, value in pairs if value > 0), reverse=True):
            if ids[-other] not in left_out and (allowed is None or allowed[-other]):
                found.append(Scored(ids[-other], similarity, NEIGHBOURS))
        return found[:n]

    def _known(self, history: Mapping[str, float]) -> _History | None:
        place = self._place
        found = [(place[product_id], s) for product_id, s in history.items() if s and product_id in place]
        if not found:
            return None
        # In the model's order, so that the order of the mapping changes nothing, rounding included.
        found.sort()
        weights = np.array([s for _, s in found], dtype=np.float64)
        largest = np.maximum.reduce(np.abs(weights))
        if not np.isfinite(largest):
            wrong = next(product_id for product_id, s in history.items() if not np.isfinite(s))
            raise ValueError(f"history: {wrong!r} weighs {history[wrong]}: finite numbers are allowed")
        return _History(np.array([each for each, _ in found], dtype=np.intp), weights / largest)

    def _scored(
        self, known: _History, best: Places, near_parts: Doubles, folded_parts: Doubles, explain: bool
    ) -> list[Scored]:
        """Give what of ``best`` scores, by the sums of its parts (history × best), which are exact."""
        near, folded = near_parts.sum(axis=0), folded_parts.sum(axis=0)
        scores = near + folded
        order = np.lexsort((best, -scores))
        ids = self.model.product_ids
        found = []
        for position in order[scores[order] > 0].tolist():
            parts: tuple[Part, ...] = ()
            if explain:
                rankings = ((NEIGHBOURS, near_parts[:, position]), (ALS, folded_parts[:, position]))
                named = [
                    Part(ids[place], source, value)
                    for source, values in rankings
                    for place, value in zip(known.places.tolist(), values.tolist(), strict=True)
                    if value
                ]
                parts = tuple(sorted(named, key=lambda each: -abs(each.value)))
            source = NEIGHBOURS if near[position] >= folded[position] else ALS
            found.append(Scored(ids[best[position]], float(scores[position]), source, parts))
        return found


class _Neighbours:
    """Candidates, and what the neighbours' ranking gives each: the first ``fixed`` products and all neighbours."""

    def __init__(self, model: Model, known: _History, fixed: int) -> None:
        self._flat = model.neighbours[known.places].ravel()
        self._values = (model.similarities[known.places] * known.weights[:, None]).ravel()
        self._history, self._width = len(known.places), model.neighbours.shape[1]
        products = len(model.product_ids)
        # position[j]: where product j stands among the candidates. Of the others it is left as it comes from memory,
        # since filling it would cost more than all else does with many products.
        self._position = np.empty(products, dtype=np.int32)
        self._position[:fixed] = np.arange(fixed, dtype=np.int32)
        self.candidates: Places = np.arange(fixed)
        if fixed < products:
            beyond = self._flat[self._flat >= fixed]
            numbers = np.arange(len(beyond), dtype=np.int32)
            self._position[beyond] = numbers
            once = beyond[self._position[beyond] == numbers]  # of equal ones the last has left its number
            self._position[once] = np.arange(fixed, fixed + len(once), dtype=np.int32)
            self.candidates = np.concatenate([self.candidates, once])
        self._places = self._position[self._flat]
        self.scores: Doubles = self._summed(self._values)
        largest = self._summed(np.abs(self._values)) if (known.weights < 0).any() else self.scores
        self.scale = float(np.maximum.reduce(largest))

    def positions(self, places: list[int]) -> Places:
        """Give where products stand among the candidates; those that are none are left out."""
        wanted = np.array(places, dtype=np.intp)
        found = self._position[wanted].astype(np.intp)
        there = (found >= 0) & (found < len(self.candidates))
        found, wanted = found[there], wanted[there]
        positions: Places = found[self.candidates[found] == wanted]
        return positions

    def parts(self, best: Places) -> Doubles:
        """Give what each product of the history adds to each of ``best``, history × best."""
        column = np.full(len(self.candidates), -1, dtype=np.intp)
        column[self._position[best]] = np.arange(len(best))
        columns = column[self._places]
        hits = np.flatnonzero(columns >= 0)
        cells = (hits // max(self._width, 1)) * len(best) + columns[hits]
        summed = np.bincount(cells, weights=self._values[hits], minlength=self._history * len(best))
        return summed.reshape(self._history, len(best)).astype(np.float64, copy=False)

    def _summed(self, values: Doubles) -> Doubles:
        return np.bincount(self._places, weights=values, minlength=len(self.candidates)).astype(np.float64, copy=False)


class _Folded:
    """The user's vector among the factors."""

    def __init__(self, model: Model, regular: Doubles, known: _History) -> None:
        self._factors = model.factors
        own = model.factors[known.places].astype(np.float64)
        sizes = np.abs(known.weights)
        extra = model.parameters.alpha * (sizes * (len(sizes) / np.add.reduce(sizes)))
        self._inverse = np.linalg.inv(regular + (own.T * extra) @ own)
        # The confidence in what is liked; what is disliked has no part of its own, it makes the matrix larger.
        self._weighted = own * np.where(known.weights > 0, 1.0 + extra, 0.0)[:, None]
        self._vector = self._inverse @ self._weighted.sum(axis=0)
        self.scale = float(np.maximum.reduce(np.abs(own @ self._vector)))

    def scores(self, candidates: Places, fixed: int) -> Floats:
        """Predict the candidates, of which the first ``fixed`` are the first products."""
        vector = self._vector.astype(np.float32)
        scores: Floats = self._factors[:fixed] @ vector
        if len(candidates) > fixed:
            scores = np.concatenate([scores, self._factors[candidates[fixed:]] @ vector])
        return scores

    def parts(self, best: Places) -> Doubles:
        """Give what each product of the history adds to each of ``best``, history × best."""
        parts: Doubles = self._weighted @ (self._inverse @ self._factors[best].T.astype(np.float64))
        return parts


def _best(scores: Doubles, candidates: Places, n: int) -> Places:
    """Positions of the ``n`` largest scores above 0, in no order; of equal ones the more popular products."""
    threshold = max(np.partition(scores, len(scores) - n)[len(scores) - n], 0.0) if len(scores) > n else 0.0
    found = np.flatnonzero((scores >= threshold) & (scores > 0))
    if len(found) > n:
        found = found[np.lexsort((candidates[found], -scores[found]))[:n]]
    return found
