"""What the service would have answered by a model that was trained on a part of the events, and by that alone."""

from __future__ import annotations

from typing import Final

import numpy as np

from reccore.scoring import score
from reccore.weights import Weights
from recsvc.models.scorer import Scorer
from reweigh.dataset import Dataset, Flags, hold_out_newest, part_of
from reweigh.progress import Tell
from reweigh.train.fitting import Choice, best_blend, blended, fit
from reweigh.train.interactions import interactions_of, people_of

_KNOWN: Final = 0.8
"""The part of each person's known events that is trained on while the blend is chosen by the rest."""


class ModelAnswers:
    """Ranks products for people by the scorer that serves. People and products go by their numbers in ``data``.

    The blend is chosen on known events alone: the newest of each person are held out once more, a model is trained on
    the others, and what ranks the held-out ones best is taken.
    """

    def __init__(
        self,
        data: Dataset,
        known: Flags,
        weights: Weights,
        choice: Choice,
        tell: Tell,
        left_out: str | None = None,
    ) -> None:
        self._values, self._data = weights.values, data
        self._number = {product_id: number for number, product_id in enumerate(data.product_ids)}
        past = part_of(data, known)
        later = hold_out_newest(past, _KNOWN)
        leaves = None if left_out is None else data.event_types.names.index(left_out)
        people = people_of(past, ~later, later, leaves)
        self.blend = best_blend(
            fit(interactions_of(past, ~later), self._values, choice, tell), people, self._values, tell
        )
        self._interactions = interactions_of(data, known)
        self._bounds = np.searchsorted(self._interactions.users, np.arange(self._interactions.people + 1))
        model = blended(fit(self._interactions, self._values, choice, tell), self.blend)
        self._scorers = {blend: Scorer(model, blend=blend) for blend in (0.0, 1.0, self.blend)}

    def ranked(self, user: int, left_out: set[int], n: int, blend: float) -> list[int]:
        """The ``n`` best products, best first; ``blend`` is the one chosen, or 0 or 1."""
        own = slice(self._bounds[user], self._bounds[user + 1])
        ids = self._data.product_ids
        rows = zip(self._interactions.products[own].tolist(), self._interactions.counts[own].tolist(), strict=True)
        history = {ids[product]: score(counts, self._values) for product, counts in rows}
        found = self._scorers[blend].rank(history, left_out={ids[each] for each in left_out}, n=n)
        return [self._number[each.product_id] for each in found]
