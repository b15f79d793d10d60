"""How tags and products are ranked.

Products: popularity × affinity. The popularity of a product is its score over everybody's events; the affinity is the
mean lift of its tags, where the lift of a tag is the user's share of it over everybody's share of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


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


def rank_tags(scores: Mapping[str, float], n: int) -> list[tuple[str, float]]:
    """Give the ``n`` best tags, by score descending, ties by tag ascending."""
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:n]


def tag_lifts(user_scores: Mapping[str, float], everybody_scores: Mapping[str, float]) -> dict[str, float]:
    """How much more of a tag the user takes than everybody does: share over share, for the user's tags.

    Scores at or below 0 (a further event type may weigh negatively) have no share.
    """
    user_total = sum(value for value in user_scores.values() if value > 0)
    everybody_total = sum(value for value in everybody_scores.values() if value > 0)
    if not user_total or not everybody_total:
        return {}
    return {
        tag: (value / user_total) / (everybody_scores[tag] / everybody_total)
        for tag, value in user_scores.items()
        if value > 0 and everybody_scores.get(tag, 0) > 0
    }


def affinity(tags: Collection[str], lifts: Mapping[str, float]) -> float:
    """The mean lift over a product's tags; 0 without tags."""
    return sum(lifts.get(tag, 0.0) for tag in tags) / len(tags) if tags else 0.0


def rank_products(
    products: Iterable[Product], lifts: Mapping[str, float], *, left_out: Collection[str], n: int
) -> list[RankedProduct]:
    """Give the ``n`` best products for a user: popularity × affinity descending, ties by product id ascending.

    ``left_out`` names the user's purchases. Products that score nothing are not recommended.
    """
    ranked = [
        RankedProduct(each.product_id, each.popularity * likes, each.popularity, likes)
        for each in products
        if each.product_id not in left_out and (likes := affinity(each.tags, lifts)) > 0 and each.popularity > 0
    ]
    return sorted(ranked, key=lambda each: (-each.score, each.product_id))[:n]


def rank_popular(products: Iterable[Product], *, left_out: Collection[str], n: int) -> list[RankedProduct]:
    """Give the ``n`` most popular products, for users of whom nothing is known; ties by product id ascending."""
    ranked = [
        RankedProduct(each.product_id, each.popularity, each.popularity, 1.0)
        for each in products
        if each.product_id not in left_out and each.popularity > 0
    ]
    return sorted(ranked, key=lambda each: (-each.score, each.product_id))[:n]
