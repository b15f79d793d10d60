"""Ratings over HTTP: judged by the follower's own rule, taken when Kafka has acknowledged them, and given again."""

from __future__ import annotations

from typing import Any, Final

from reccore.ratings import decode_rated, parse_rating
from reccore.timestamps import iso_8601
from recsvc.errors import IngestUnavailable, StoreUnavailable
from recsvc.ingest import EventPublisher, Message, Placed, with_request_id
from recsvc.numbers import number
from recsvc.user_store import UserStore

RATINGS: Final = 50
"""How many are given when nothing is said."""


class Ratings:
    """Takes and gives ratings for one process."""

    def __init__(self, store: UserStore, publisher: EventPublisher, topic: str) -> None:
        self._store, self._publisher, self._topic = store, publisher, topic

    def take(self, raw: bytes, now_ms: int, request_id: str | None = None) -> Placed:
        """Take one rating; ``now_ms`` stands in for an absent timestamp.

        Raises ``RejectedEvent`` or ``IngestUnavailable``.
        """
        rating = parse_rating(raw, record_time_ms=now_ms)
        if rating.event_id is None and request_id is not None:
            raw = with_request_id(raw, request_id)
        placed = self._publisher.publish([Message(self._topic, rating.user_id.encode("utf-8"), raw)])[0]
        if isinstance(placed, IngestUnavailable):
            raise placed
        return placed

    def answer(self, user_id: str, n: int | None) -> dict[str, Any]:
        """Answer ``GET /users/<id>/ratings``: the newest first."""
        try:
            found, degraded = self._store.ratings(user_id), False
        except StoreUnavailable:
            found, degraded = {}, True
        rated = [(decode_rated(text), product_id) for product_id, text in found.items()]
        newest = sorted(rated, key=lambda each: (each[0].time_ms, each[1]), reverse=True)[: n or RATINGS]
        return {
            "user_id": user_id,
            "degraded": degraded,
            "ratings": [
                {
                    "product_id": product_id,
                    "rating": number(each.rating),
                    "timestamp": iso_8601(each.time_ms),
                    "timestamp_ms": each.time_ms,
                }
                for each, product_id in newest
            ],
        }
