"""What a user did last, as the job keeps it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from reccore.event_types import EventTypes
from reccore.timestamps import iso_8601
from recsvc.errors import StoreUnavailable
from recsvc.ingest import Placed
from recsvc.user_store import UserStore

MOST_EVENTS: Final = 1_000
RECENT_EVENTS: Final = 50
"""How many are given when nothing is said."""


class RecentEvents:
    """Answers for one process."""

    def __init__(self, store: UserStore, event_types: EventTypes) -> None:
        self._store = store
        self._types = event_types.names
        self._topics = {name: topic for topic, name in event_types.by_topic.items()}

    @property
    def topics(self) -> Collection[str]:
        """The topics that events may have come on."""
        return self._topics.values()

    def answer(self, user_id: str, n: int | None) -> dict[str, Any]:
        """Answer ``GET /users/<id>/events``: the newest first, by their own time."""
        try:
            found, degraded = self._store.recent(user_id, 0, (n or RECENT_EVENTS) - 1), False
        except StoreUnavailable:
            found, degraded = [], True
        return {"user_id": user_id, "degraded": degraded, "events": [self._entry(*each) for each in found]}

    def _entry(self, event: str, time_ms: int) -> dict[str, Any]:
        code, partition, offset, product_id = event.split(":", 3)
        name = self._types[int(code)]
        place = Placed(self._topics[name], int(partition), int(offset))
        return {
            "product_id": product_id,
            "event_type": name,
            "timestamp": iso_8601(time_ms),
            "timestamp_ms": time_ms,
            "position": str(place),
        }
