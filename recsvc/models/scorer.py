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

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recsvc.models.exact import rounded
from recsvc.models.model import Doubles, Floats, Model, Numbers

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
    """The products of a history that the model knows: places, and weights of a magnitude of at most 1.

    ``dislikes`` is whether any of these is negative.
    """

    places: Places
    weights: Doubles
    dislikes: bool


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
        self._first: Places = np.arange(products if products <= all_up_to else min(most_popular, products))

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
        near = _Neighbours(self.model, known, self._first)
        folded = _Folded(self.model, self._regular, known)
        candidates = near.candidates
        near_factor = (1.0 - self._blend) / near.scale if near.scale > _LEAST_SCALE else 0.0
        folded_factor = self._blend / folded.scale if folded.scale > _LEAST_SCALE else 0.0
        scores = near_factor * near.scores
        if folded_factor:
            scores += folded_factor * folded.scores(candidates, len(self._first))
        if not_these := [self._place[each] for each in left_out if each in self._place]:
            scores[near.positions(not_these)] = -np.inf
        if allowed is not None:
            scores[~allowed[candidates]] = -np.inf
        best = candidates[_best(scores, candidates, n)]
        parts: Doubles = np.empty((2, len(known.places), len(best)))
        np.multiply(near.parts(best), near_factor, out=parts[0])
        np.multiply(folded.parts(best), folded_factor, out=parts[1])
        return self._scored(known, best, rounded(parts), explain)

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
        weights = [s for _, s in found]
        if not math.isfinite(sum(weights)):
            for product_id, s in history.items():
                if not math.isfinite(s):
                    raise ValueError(f"history: {product_id!r} weighs {s}: finite numbers are allowed")
        places = np.array([each for each, _ in found], dtype=np.intp)
        return _History(places, np.array(weights) / max(map(abs, weights)), min(weights) < 0)

    def _scored(self, known: _History, best: Places, parts: Doubles, explain: bool) -> list[Scored]:
        """Give what of ``best`` scores, by the sums of its parts (rankings × history × best), which are exact."""
        sums = zip(best.tolist(), *np.add.reduce(parts, axis=1).tolist(), strict=True)
        order = sorted((-(near + folded), place, at, near >= folded) for at, (place, near, folded) in enumerate(sums))
        ids = self.model.product_ids
        return [
            Scored(
                ids[place],
                -score,
                NEIGHBOURS if is_near else ALS,
                self._parts(known, parts[:, :, at]) if explain else (),
            )
            for score, place, at, is_near in order
            if score < 0
        ]

    def _parts(self, known: _History, values: Doubles) -> tuple[Part, ...]:
        """Name the parts of one product's score, rankings × history, the largest first."""
        ids = self.model.product_ids
        named = [
            Part(ids[place], source, value)
            for source, of_source in zip((NEIGHBOURS, ALS), values.tolist(), strict=True)
            for place, value in zip(known.places.tolist(), of_source, strict=True)
            if value
        ]
        return tuple(sorted(named, key=lambda each: -abs(each.value)))


class _Neighbours:
    """Candidates, and what the neighbours' ranking gives each: the ``first`` products and all neighbours."""

    def __init__(self, model: Model, known: _History, first: Places) -> None:
        near = model.neighbours[known.places]
        self._values = model.similarities[known.places] * known.weights[:, None]
        self.candidates = first
        # position[j]: where product j stands among the candidates; None: all products are, in their order. Of those
        # that are none it is left as it comes from memory, since filling it would cost more than all else does.
        self._position: Numbers | None = None
        if len(first) < len(model.product_ids):
            position = self._position = np.empty(len(model.product_ids), dtype=np.int32)
            position[: len(first)] = first
            beyond = near[near >= len(first)]
            numbers = np.arange(len(beyond), dtype=np.int32)
            position[beyond] = numbers
            once = beyond[position[beyond] == numbers]  # of equal ones the last has left its number
            position[once] = np.arange(len(first), len(first) + len(once), dtype=np.int32)
            self.candidates = np.concatenate([first, once])
            near = position[near]
        self._places = near
        self.scores = self._summed(self._values)
        self.scale = float(np.maximum.reduce(self._summed(np.abs(self._values)) if known.dislikes else self.scores))

    def positions(self, places: list[int]) -> Places:
        """Give where products stand among the candidates; those that are none are left out."""
        wanted = np.array(places, dtype=np.intp)
        if self._position is None:
            return wanted
        found = self._position[wanted].astype(np.intp)
        there = (found >= 0) & (found < len(self.candidates))
        found, wanted = found[there], wanted[there]
        positions: Places = found[self.candidates[found] == wanted]
        return positions

    def parts(self, best: Places) -> Doubles:
        """Give what each product of the history adds to each of ``best``, history × best."""
        history, columns = len(self._places), len(best) + 1  # the last column takes what is none of them
        column = np.full(len(self.candidates), columns - 1, dtype=np.intp)
        column[best if self._position is None else self._position[best]] = np.arange(columns - 1)
        cells = column[self._places] + columns * np.arange(history)[:, None]
        summed = np.bincount(cells.ravel(), weights=self._values.ravel(), minlength=history * columns)
        parts: Doubles = summed.reshape(history, columns)[:, :-1].astype(np.float64, copy=False)
        return parts

    def _summed(self, values: Doubles) -> Doubles:
        summed = np.bincount(self._places.ravel(), weights=values.ravel(), minlength=len(self.candidates))
        return summed.astype(np.float64, copy=False)


class _Folded:
    """The user's vector among the factors."""

    def __init__(self, model: Model, regular: Doubles, known: _History) -> None:
        self._factors = model.factors
        own = model.factors[known.places].astype(np.float64)
        sizes = np.abs(known.weights)
        extra = sizes * (model.parameters.alpha * (len(sizes) / np.add.reduce(sizes)))
        self._inverse = np.linalg.inv(regular + (own.T * extra) @ own)
        # The confidence in what is liked; what is disliked has no part of its own, it makes the matrix larger.
        confidence = 1.0 + extra
        if known.dislikes:
            confidence[known.weights <= 0] = 0.0
        self._weighted = own * confidence[:, None]
        self._vector = self._inverse @ np.add.reduce(self._weighted)
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
    least = np.partition(scores, len(scores) - n)[len(scores) - n] if len(scores) > n else 0.0
    found: Places = (scores >= least if least > 0 else scores > 0).nonzero()[0]
    if len(found) > n:
        found = found[np.lexsort((candidates[found], -scores[found]))[:n]]
    return found
