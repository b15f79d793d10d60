"""What the service tells of products: one with all that is known of it, or a page of them in the order of ids."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from recsvc.errors import Problem, StoreUnavailable
from recsvc.sources import StatisticsSource
from recsvc.statistics import Described
from recsvc.user_store import UserStore
from recsvc.wanted import Masks, Wanted

MOST_PRODUCTS: Final = 500
PRODUCTS: Final = 50
"""How many are given when nothing is said."""


class Catalogue:
    """Answers for one process, from what each worker holds in memory; descriptions are read from Redis."""

    def __init__(self, store: UserStore, statistics: StatisticsSource, event_types: Sequence[str]) -> None:
        self._store, self._statistics, self._event_types = store, statistics, event_types
        self._masks = Masks()

    def product(self, product_id: str) -> dict[str, Any]:
        """Answer ``GET /products/<id>``. Raises ``Problem`` 404 for one that nobody knows."""
        snapshot, degraded = self._statistics.snapshot, False
        try:
            row, details = self._store.product(product_id)
        except StoreUnavailable:
            row, details, degraded = None, None, True
        described = Described.from_row(json.loads(row)) if row else snapshot.described.get(product_id)
        counts = snapshot.counts_of(product_id)
        if described is None and counts is None:
            raise Problem(404, f"no product {product_id[:128]} is known")
        beside = json.loads(details) if details else {}
        return {
            **_entry(product_id, described or Described()),
            "description": beside.get("description"),
            "attributes": beside.get("attributes"),
            "events": dict(zip(self._event_types, counts or [0] * len(self._event_types), strict=True)),
            "degraded": degraded,
        }

    def page(self, wanted: Wanted, n: int | None, after: str | None) -> dict[str, Any]:
        """Answer ``GET /products``: ``n`` products that are wanted, beginning after an id."""
        snapshot, limit = self._statistics.snapshot, n or PRODUCTS
        ids = snapshot.catalogue_ids
        mask = self._masks.of(ids, snapshot, wanted)
        matching = np.arange(len(ids)) if mask is None else np.flatnonzero(mask)
        first = 0 if after is None else int(np.searchsorted(matching, bisect_right(ids, after)))
        page = [ids[place] for place in matching[first : first + limit].tolist()]
        return {
            "products": [_entry(each, snapshot.described[each]) for each in page],
            "next": page[-1] if first + limit < len(matching) else None,
            "total": len(matching),
            "degraded": not self._store.available,
        }


def _entry(product_id: str, described: Described) -> dict[str, Any]:
    return {
        "product_id": product_id,
        "name": described.name,
        "category": described.category,
        "price": described.price,
        "tags": list(described.tags),
    }
