"""What the service tells of a user's features, for models and rules of others."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reccore.encoding import ItemCounts
from reccore.features import LAST_INTERACTION, FeatureRules, attribute_values, last_interaction_ms
from reccore.timestamps import iso_8601
from recsvc.errors import StoreUnavailable
from recsvc.sources import StatisticsSource
from recsvc.user_store import UserStore


class UserFeatures:
    """Answers for one process. ``attributes`` names attributes of products by whose values events are counted."""

    def __init__(
        self,
        store: UserStore,
        statistics: StatisticsSource,
        rules: FeatureRules,
        *,
        attributes: Sequence[str] = (),
        tag_expiry_seconds: int = 0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._statistics, self._rules = store, statistics, rules
        self._attributes, self._expiry, self._now = tuple(attributes), tag_expiry_seconds, now

    def answer(self, user_id: str) -> dict[str, Any]:
        """Answer ``GET /features/<user>``."""
        degraded = False
        values: Mapping[str, Mapping[str, str]] = {}
        try:
            items = self._rules.unexpired(self._store.items(user_id), self._now(), self._expiry)
            if self._attributes and items:
                values = self._attribute_values(list(items))
        except StoreUnavailable:
            items, degraded = {}, True
        described = self._statistics.snapshot.described
        newest_ms = last_interaction_ms(items)
        answer: dict[str, Any] = {
            "user_id": user_id,
            "degraded": degraded,
            LAST_INTERACTION: None if newest_ms is None else iso_8601(newest_ms),
            "products": {product_id: self._rules.product(item) for product_id, item in sorted(items.items())},
            "categories": self._rules.groups(
                "category", items, lambda each: described[each].category if each in described else None
            ),
        }
        if self._attributes:
            answer["attributes"] = {name: self._by_attribute(name, items, values) for name in self._attributes}
        return answer

    def _by_attribute(
        self, name: str, items: Mapping[str, ItemCounts], values: Mapping[str, Mapping[str, str]]
    ) -> dict[str, Any]:
        return dict(self._rules.groups(name, items, lambda each: values.get(each, {}).get(name)))

    def _attribute_values(self, product_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        details = zip(product_ids, self._store.details(product_ids), strict=True)
        return {product_id: attribute_values(text, self._attributes) for product_id, text in details}
