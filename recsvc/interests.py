"""Interest profiles: made of users' recent events, sent to Kafka, and the vectors that the follower makes of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from reccore.canary import CANARY
from reccore.event_types import EventTypes
from reccore.interests import MOST_ITEMS, HistoryItem, Interests, profile_message
from reccore.timestamps import iso_8601
from recsvc.errors import IngestUnavailable, Problem, StoreUnavailable
from recsvc.ingest import EventPublisher, Message, utf_8
from recsvc.numbers import number
from recsvc.sources import StatisticsSource, WeightsSource
from recsvc.user_store import UserStore

FEWEST_OTHERS: Final = 30
MOST_OTHERS: Final = 60
_DRAWS: Final = 4 * MOST_OTHERS
"""Keys that are drawn at once: of a user's four to nine keys three tell of one who has events."""
_ROUNDS: Final = 3
OK: Final = "ok"
NO_HISTORY: Final = "no_history"

Event = tuple[str, int]
"""A recent event as it is stored, and its time (epoch ms)."""


class InterestProfiles:
    """Sends profiles and answers with interests, for one process. ``draw(n)`` gives a number from 0 to n - 1."""

    def __init__(
        self,
        store: UserStore,
        statistics: StatisticsSource,
        weights: WeightsSource,
        publisher: EventPublisher,
        topic: str,
        event_types: EventTypes,
        *,
        draw: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._store, self._statistics, self._weights = store, statistics, weights
        self._publisher, self._topic, self._types, self._draw = publisher, topic, event_types.names, draw

    def push(self, user_id: str, before_ms: int) -> dict[str, Any]:
        """Send the user's profile, of the events before a time; nothing is sent for one who has none.

        Raises ``StoreUnavailable``, or ``IngestUnavailable`` when Kafka has not acknowledged.
        """
        [history] = self._store.histories([user_id], before_ms, MOST_ITEMS)
        self._send({user_id: history} if history else {}, before_ms)
        return _about(user_id, history)

    def push_some(self, user_id: str, before_ms: int) -> dict[str, Any]:
        """Send the user's profile and those of 30 to 60 others, or of as many as there are. Raises as :meth:`push`."""
        [history] = self._store.histories([user_id], before_ms, MOST_ITEMS)
        others = self._others(user_id, before_ms, FEWEST_OTHERS + self._draw(MOST_OTHERS - FEWEST_OTHERS + 1))
        self._send({**({user_id: history} if history else {}), **others}, before_ms)
        return {**_about(user_id, history), "others": len(others), "sent": len(others) + bool(history)}

    def answer(self, user_id: str) -> dict[str, Any]:
        """Answer ``GET /interests/<id>``."""
        try:
            found, degraded = Interests.stored(*self._store.interests(user_id)), False
        except StoreUnavailable:
            found, degraded = None, True
        return {
            "user_id": user_id,
            "degraded": degraded,
            "timestamp": None if found is None else iso_8601(found.time_ms),
            "timestamp_ms": None if found is None else found.time_ms,
            "items": 0 if found is None else found.items,
            "weights_version": None if found is None else found.weights_version,
            "interests": {} if found is None else {tag: number(float(text)) for tag, text in found.vector},
        }

    def _others(self, user_id: str, before_ms: int, wanted: int) -> Mapping[str, Sequence[Event]]:
        """Choose other users who have a history, in few questions however many users there are."""
        found: dict[str, Sequence[Event]] = {}
        looked_at = {user_id, CANARY}
        for _ in range(_ROUNDS):
            drawn = [each for each in self._store.some_users(_DRAWS) if each not in looked_at]
            if fresh := drawn[: wanted - len(found)]:
                looked_at.update(fresh)
                histories = self._store.histories(fresh, before_ms, MOST_ITEMS)
                found |= {each: history for each, history in zip(fresh, histories, strict=True) if history}
            if len(found) == wanted:
                break
        return found

    def _send(self, histories: Mapping[str, Sequence[Event]], before_ms: int) -> None:
        messages = [
            Message(self._topic, user_id.encode("utf-8"), utf_8(self._message(user_id, before_ms, history)))
            for user_id, history in histories.items()
        ]
        missing = [each for each in self._publisher.publish(messages) if isinstance(each, IngestUnavailable)]
        if missing:
            detail = f"{len(missing)} of {len(messages)} profiles were not taken: {missing[0]}"
            sent = len(messages) - len(missing)
            raise Problem(503, detail, headers={"Retry-After": "1"}, members={"sent": sent})

    def _message(self, user_id: str, before_ms: int, history: Sequence[Event]) -> dict[str, Any]:
        in_force, tags_of = self._weights.in_force, self._statistics.snapshot.tags_of
        items = []
        for event, time_ms in history:
            code, _, _, product_id = event.split(":", 3)
            items.append(HistoryItem(product_id, self._types[int(code)], time_ms, tags_of(product_id)))
        return profile_message(user_id, before_ms, items, in_force.weights, in_force.version)


def _about(user_id: str, history: Sequence[Event]) -> dict[str, Any]:
    return {"status": OK if history else NO_HISTORY, "user_id": user_id, "history_items_count": len(history)}
