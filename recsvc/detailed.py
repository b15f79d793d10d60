"""Recommendations as a plain array, each product with what the catalogue says of it and the user's own rating."""

from __future__ import annotations

import json
from typing import Any

from reccore.ratings import decode_rated
from recsvc import metrics
from recsvc.errors import StoreUnavailable
from recsvc.numbers import number
from recsvc.recommender import Recommender
from recsvc.sources import StatisticsSource
from recsvc.statistics import Described
from recsvc.user_store import UserStore
from recsvc.wanted import Wish


class Detailed:
    """Answers ``GET /recommendations`` for one process."""

    def __init__(self, recommender: Recommender, store: UserStore, statistics: StatisticsSource) -> None:
        self._recommender, self._store, self._statistics = recommender, store, statistics

    def recommendations(self, user_id: str, wish: Wish) -> list[dict[str, Any]]:
        """Give the products recommended to a user; details and ratings are null while Redis is away."""
        answer = self._recommender.recommend(user_id, wish)
        metrics.count_degraded(answer)
        products = answer["products"]
        ids = [each["product_id"] for each in products]
        details, ratings = dict[str, Any](), dict[str, float]()
        try:
            found = self._store.details(ids) if ids else []
            details = {product_id: json.loads(text) for product_id, text in zip(ids, found, strict=True) if text}
            ratings = {name: decode_rated(text).rating for name, text in self._store.ratings(user_id).items()}
        except StoreUnavailable:
            pass
        described = self._statistics.snapshot.described
        return [
            self._entry(each, described.get(each["product_id"], Described()), details, ratings) for each in products
        ]

    @staticmethod
    def _entry(
        product: dict[str, Any], described: Described, details: dict[str, Any], ratings: dict[str, float]
    ) -> dict[str, Any]:
        product_id = product["product_id"]
        about, rating = details.get(product_id) or {}, ratings.get(product_id)
        return {
            "product_id": product_id,
            "score": product["score"],
            "source": product["source"],
            "name": described.name,
            "category": described.category,
            "price": described.price,
            "tags": list(described.tags),
            "description": about.get("description"),
            "attributes": about.get("attributes"),
            "rating": None if rating is None else number(rating),
            **({"parts": product["parts"]} if "parts" in product else {}),
        }
