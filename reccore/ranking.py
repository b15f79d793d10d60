"""How tags and products are ranked.

A product's score has two factors, which every answer can name::

    score        = popularity × affinity
    popularity   = Σ over event types of weight × count, over everybody's events with the product
    affinity     = (1 − trust) + trust × lift                    1: this person is to this product as anybody is
    lift         = mean over the product's tags of  share of the tag in the user's profile
                                                    ─────────────────────────────────────
                                                    share of the tag in everybody's events
    trust        = S ÷ (S + PRIOR_EVENTS × typical weight)       S: the sum of the user's tag scores

A share is the tag's score over the sum of all tags' scores. The lift of a tag that the user has no score for is 0. A
product without tags has affinity 1: nothing is known against it. Only scores above 0 take part (a further event type
may weigh negatively), and a tag that scores nothing for everybody has lift 1.

``trust`` keeps a person's first few events from deciding everything: it is 0 without events, which ranks by
popularity alone, and goes to 1 as they grow. ``typical weight`` is the weight behind the average point of score,
Σ n·w² ÷ Σ n·w over the event types with n events and weight w > 0; so multiplying all weights by one number changes no
ranking. Nothing in here depends on the order of summation by more than rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

PRIOR_EVENTS: Final = 20.0
"""How many typical events, counted once for each tag, it takes until trust is one half."""


@dataclass(frozen=True, slots=True)
class Product:
    """What ranking needs of a product: its tags, and its popularity Σ weight × count over everybody's events."""

    product_id: str
    tags: tuple[str, ...]
    popularity: float


@dataclass(frozen=True, slots=True)
class RankedProduct:
    """A recommended product and the two factors of its score."""

    product_id: str
    score: float
    popularity: float
    affinity: float


@dataclass(frozen=True, slots=True)
class Taste:
    """What ranking needs of a user: how far to trust the profile (0 to 1), and the lift of each tag in it.

    A tag that is not named has lift 0.
    """

    trust: float
    lifts: Mapping[str, float]


_LARGEST_LIFT: Final = 1e100
"""Beyond anything that events lead to; keeps weights near the largest double from making a score infinite."""

NO_TASTE: Final = Taste(0.0, {})
"""A user of whom nothing is known: every affinity is 1."""


_second = itemgetter(1)


def rank_tags(scores: Mapping[str, float], n: int) -> list[tuple[str, float]]:
    """Give the ``n`` best tags, by score descending, ties by tag ascending."""
    by_tag = sorted(scores.items())  # tags differ, so no two scores are compared here
    return sorted(by_tag, key=_second, reverse=True)[:n]


def typical_weight(counts: Sequence[int], weights: Sequence[float]) -> float:
    """The weight behind the average point of score: Σ n·w² ÷ Σ n·w over the types with w > 0; 0 without such events.

    ``counts`` are everybody's events by type, summed over all tags, in the order of ``weights``.
    """
    largest = max((weight for weight in weights if weight > 0), default=1.0)  # scaled by it, nothing overflows
    scaled = [(count, weight / largest) for count, weight in zip(counts, weights, strict=False) if weight > 0]
    points = sum(count * weight for count, weight in scaled)
    return largest * (sum(count * weight * weight for count, weight in scaled) / points) if points > 0 else 0.0


def taste(user_scores: Mapping[str, float], everybody_scores: Mapping[str, float], typical: float) -> Taste:
    """Compare a user's tag scores with everybody's; ``typical`` is :func:`typical_weight`.

    Gives :data:`NO_TASTE` when either has no score above 0.
    """
    return taste_beside(user_scores, shares(everybody_scores), typical)


def shares(scores: Mapping[str, float]) -> dict[str, float]:
    """Give each tag's share of the sum of all scores; none when no score is above 0."""
    total = _total(scores)
    return {tag: value / total for tag, value in scores.items()} if total > 0 else {}


def taste_beside(user_scores: Mapping[str, float], everybody: Mapping[str, float], typical: float) -> Taste:
    """Do what :func:`taste` does with everybody's :func:`shares`, for who compares many users with them."""
    user_total = _total(user_scores)
    if user_total <= 0 or not everybody:
        return NO_TASTE
    lifts = {}
    for tag, value in user_scores.items():
        if value > 0:
            share = everybody.get(tag, 0.0)
            lift = (value / user_total) / share if share > 0 else 1.0
            lifts[tag] = lift if lift < _LARGEST_LIFT else _LARGEST_LIFT
    return Taste(1.0 / (1.0 + PRIOR_EVENTS * (typical / user_total)), lifts)


def _total(scores: Mapping[str, float]) -> float:
    return min(sum([value for value in scores.values() if value > 0]), sys.float_info.max)


def affinity(tags: Collection[str], user: Taste) -> float:
    """How a product with ``tags`` suits the user: 1 as anybody, more for tags that the user takes more of."""
    if not tags:
        return 1.0
    lift = sum(user.lifts.get(tag, 0.0) for tag in tags) / len(tags)
    return (1.0 - user.trust) + user.trust * lift


def rank_products(
    products: Iterable[Product], user: Taste, *, left_out: Collection[str], n: int
) -> list[RankedProduct]:
    """Give the ``n`` best products for a user: popularity × affinity descending, ties by product id ascending.

    ``left_out`` names the user's purchases. Products that score nothing are not recommended.
    """
    ranked = [
        RankedProduct(each.product_id, min(each.popularity * suits, sys.float_info.max), each.popularity, suits)
        for each in products
        if each.product_id not in left_out and each.popularity > 0 and (suits := affinity(each.tags, user)) > 0
    ]
    return sorted(ranked, key=lambda each: (-each.score, each.product_id))[:n]


def rank_popular(products: Iterable[Product], *, left_out: Collection[str], n: int) -> list[RankedProduct]:
    """Give the ``n`` most popular products, for users of whom nothing is known; ties by product id ascending."""
    return rank_products(products, NO_TASTE, left_out=left_out, n=n)
