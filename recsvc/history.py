"""A user's history as a model takes it: what each product weighs, by events under the weights in force and ratings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reccore.encoding import newest_of_rows
from reccore.ratings import decode_rated, newest_rated
from reccore.weights import Weights
from recsvc.models.scorer import Scored
from recsvc.reasons import Weighed, of_model, weighed
from recsvc.user_store import StoredUser

RATING: Final = "rating"
_MIDDLE_RATING: Final = 2.5


class History:
    """The history of one user.

    A product weighs Σ over event types of weight × count, which ``scores`` gives for the user's items, and where it is
    rated r besides ``rating_weight`` × (r − 2.5) ÷ 2.5: so a low rating makes it weigh less, or less than nothing.
    """

    def __init__(self, user: StoredUser, scores: Mapping[str, float], weights: Weights, rating_weight: float) -> None:
        self._items, self._weights = user.items, weights
        self._ratings = {product_id: _rated(text, rating_weight) for product_id, text in user.ratings.items()}
        self.amounts = dict(scores)
        """Product → weight."""
        for product_id, rating in self._ratings.items():
            self.amounts[product_id] = self.amounts.get(product_id, 0.0) + rating.amount

    def parts(self, found: Scored) -> list[dict[str, Any]]:
        """Give the parts of a product's score, by product of the history, ranking and event type."""
        return of_model(found.parts, {part.product_id: self._acts(part.product_id) for part in found.parts})

    def _acts(self, product_id: str) -> list[Weighed]:
        rating = self._ratings.get(product_id)
        acts = weighed(self._weights.names, self._items.get(product_id), self._weights.values)
        return acts if rating is None else [*acts, rating]


def newest_of(user: StoredUser) -> int | None:
    """Give the time (epoch ms) of the newest that is known of the user."""
    rows = (newest_of_rows(each.values()) for each in (user.rows, user.items))
    return max((each for each in (*rows, newest_rated(user.ratings.values())) if each is not None), default=None)


def _rated(text: str, weight: float) -> Weighed:
    rating = decode_rated(text).rating
    return Weighed(RATING, rating, weight, weight * (rating - _MIDDLE_RATING) / _MIDDLE_RATING)
