"""Small models, made up or trained."""

from __future__ import annotations

import numpy as np

from recsvc.models.model import Model, Parameters
from reweigh.train.interactions import Interactions


def made_up(products: int = 60, *, neighbours: int = 6, rank: int = 5, blend: float = 0.4, seed: int = 0) -> Model:
    """Random neighbours and factors; some rows of neighbours are filled up."""
    draw = np.random.default_rng(seed)
    places = np.array(
        [draw.choice(np.delete(np.arange(products), own), neighbours, replace=False) for own in range(products)],
        dtype=np.int32,
    )
    similarities = draw.random((products, neighbours)).astype(np.float32)
    for own in range(0, products, 7):
        places[own, neighbours // 2 :], similarities[own, neighbours // 2 :] = own, 0
    factors = draw.normal(0.2, 0.4, (products, rank)).astype(np.float32)
    exact = factors.astype(np.float64)
    return Model(
        product_ids=tuple(f"p{number}" for number in draw.permutation(products).tolist()),
        neighbours=places,
        similarities=similarities,
        factors=factors,
        gram=exact.T @ exact,
        parameters=Parameters(blend=blend, alpha=2.0, regularization=0.5),
        trained_at="2026-01-05T00:00:00+00:00",
        training={"events": 7, "weights": [1.0, 3.0, 5.0]},
    )


def two_tastes(people: int = 60, seed: int = 0) -> Interactions:
    """People who take from the even products or from the odd ones, of twenty."""
    draw = np.random.default_rng(seed)
    rows = [
        (user, 2 * product + user % 2, *draw.multinomial(3, [0.6, 0.2, 0.2]).tolist())
        for user in range(people)
        for product in sorted(draw.choice(10, 5, replace=False).tolist())
    ]
    cells = np.array(rows, dtype=np.int32)
    ids = tuple(f"p{number:02}" for number in range(20))
    return Interactions(ids, people, cells[:, 0], cells[:, 1], cells[:, 2:])
