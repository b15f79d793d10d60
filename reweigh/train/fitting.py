"""A model from interactions: products by popularity, neighbours, factors, and the blend that measures best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from reccore.scoring import score
from recsvc.models.model import Model, Parameters
from recsvc.models.scorer import Scorer
from reweigh.errors import CommandError
from reweigh.metrics import ndcg
from reweigh.progress import Tell
from reweigh.train.factors import item_factors
from reweigh.train.interactions import Interactions, Person
from reweigh.train.neighbours import nearest

BLENDS: Final = tuple(step / 10 for step in range(11))
LENGTH: Final = 10
"""Length of the lists that are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is chosen before training; the defaults did well on MovieLens (``docs/adr/0011-models.md``).

    Args:
        neighbours: How many each product has.
        asymmetry: See :func:`reweigh.train.neighbours.nearest`.
        rank: How many factors.
        alpha: See :class:`recsvc.models.model.Parameters`.
        regularization: λ of the factors.
        iterations: How often ALS goes from users to products and back.
    """

    neighbours: int = 50
    asymmetry: float = 0.4
    rank: int = 32
    alpha: float = 1.0
    regularization: float = 10.0
    iterations: int = 10


def fit(interactions: Interactions, weights: Sequence[float], choice: Choice, tell: Tell, blend: float = 0.5) -> Model:
    """Train. Raises :class:`CommandError` when no event weighs more than 0."""
    matrix = interactions.weighted(weights)
    popularity = np.asarray(matrix.sum(axis=0), dtype=np.float64).ravel()
    order = np.argsort(-popularity, kind="stable")
    order = order[popularity[order] > 0]
    if not len(order):
        raise CommandError("there is nothing to train on: no product has events that weigh more than 0")
    matrix = matrix[:, order].tocsr()
    matrix.sort_indices()
    neighbours, similarities = nearest(matrix, choice.neighbours, choice.asymmetry, tell)
    factors = item_factors(
        matrix,
        rank=choice.rank,
        alpha=choice.alpha,
        regularization=choice.regularization,
        iterations=choice.iterations,
        tell=tell,
    )
    exact = factors.astype(np.float64)
    return Model(
        product_ids=tuple(interactions.product_ids[place] for place in order.tolist()),
        neighbours=neighbours,
        similarities=similarities,
        factors=factors,
        gram=exact.T @ exact,
        parameters=Parameters(blend=blend, alpha=choice.alpha, regularization=choice.regularization),
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        training={"events": interactions.events, "people": interactions.people, "weights": list(weights)},
    )


def blended(model: Model, blend: float) -> Model:
    """Give the model with another blend."""
    return replace(model, parameters=replace(model.parameters, blend=blend))


def best_blend(model: Model, people: Sequence[Person], weights: Sequence[float], tell: Tell) -> float:
    """Give the blend of the best mean NDCG over these people, of equal ones the one nearer to neighbours.

    Nobody to measure by leaves the model's own.
    """
    if not people:
        return model.parameters.blend
    found = []
    for done, blend in enumerate(BLENDS, 1):
        scorer = Scorer(model, blend=blend)
        total = sum(ndcg(ranked(scorer, person, weights, LENGTH), person.relevant, LENGTH) for person in people)
        found.append((total, -blend))
        tell("blends measured", done, len(BLENDS))
    return -max(found)[1]


def ranked(scorer: Scorer, person: Person, weights: Sequence[float], n: int) -> list[str]:
    """Give the ``n`` best products for somebody."""
    history = {product_id: score(counts, weights) for product_id, counts in person.counts.items()}
    return [each.product_id for each in scorer.rank(history, left_out=person.left_out, n=n)]
