"""Recommendations that are computed ahead: the message that carries a user's list, and what is kept of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent
from reccore.events import LONGEST_ID, decoded, identifier, object_of, time_of

MOST_PRODUCTS: Final = 100


@dataclass(frozen=True, slots=True)
class RecommendationList:
    """A user's list as of a time (epoch ms): products, best first, each an object as the service answers it."""

    user_id: str
    time_ms: int
    weights_version: int
    model_version: int
    products: Sequence[Mapping[str, Any]]

    def message(self) -> bytes:
        """Give the JSON that tells of it, which is also what is stored."""
        return json.dumps(self.members(), ensure_ascii=False, separators=(",", ":")).encode()

    def members(self) -> dict[str, Any]:
        """Give what that JSON holds."""
        return {
            "user_id": self.user_id,
            "timestamp": self.time_ms,
            "weights_version": self.weights_version,
            "model_version": self.model_version,
            "products": self.products,
        }


def parse_recommendations(raw: bytes | None, *, record_time_ms: int | None) -> RecommendationList:
    """Read what :meth:`RecommendationList.message` wrote, or somebody else. Raises :class:`RejectedEvent`."""
    fields = object_of(*decoded(raw))
    return RecommendationList(
        user_id=identifier(fields, ("user_id",), Reason.INVALID_USER_ID),
        time_ms=time_of(fields, record_time_ms),
        weights_version=_version(fields, "weights_version"),
        model_version=_version(fields, "model_version"),
        products=_products(fields.get("products")),
    )


def _version(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise RejectedEvent.member(Reason.INVALID_RECOMMENDATIONS, name, value, "a whole number >= 0")
    return value


def _products(given: object) -> list[dict[str, Any]]:
    allowed = f"an array of at most {MOST_PRODUCTS} objects with product_id and a finite score"
    if not isinstance(given, list) or len(given) > MOST_PRODUCTS or not all(map(_is_product, given)):
        raise RejectedEvent.member(Reason.INVALID_RECOMMENDATIONS, "products", given, allowed)
    return given


def _is_product(given: object) -> bool:
    if not isinstance(given, dict):
        return False
    product_id, score = given.get("product_id"), given.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not -math.inf < score < math.inf:
        return False
    return isinstance(product_id, str) and 1 <= len(product_id) <= LONGEST_ID
