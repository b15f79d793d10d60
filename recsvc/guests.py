"""Somebody who is not known: a user made of the events of one request, by the job's own rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from reccore.encoding import encode_counts
from reccore.errors import RejectedEvent
from reccore.event_types import PURCHASE, EventTypes
from reccore.events import event_from_fields
from recsvc.problems import invalid
from recsvc.sources import StatisticsSource
from recsvc.user_store import StoredUser

MOST_SESSION_EVENTS: Final = 200
_GUEST: Final = "guest"


class Guests:
    """Makes users of events, for one process."""

    def __init__(self, statistics: StatisticsSource, event_types: EventTypes) -> None:
        self._statistics, self._types = statistics, event_types

    def user_of(self, events: Sequence[object], now_ms: int) -> StoredUser:
        """Count events as the job does, each id once; one without tags has those of its product.

        ``now_ms`` stands in for absent times. Raises ``Problem`` for an event that breaks the rules.
        """
        names, snapshot = self._types.names, self._statistics.snapshot
        by_tag, by_product = _Counted(len(names)), _Counted(len(names))
        bought, seen = set[str](), set[str]()
        for position, each in enumerate(events):
            event = self._read(position, each, now_ms)
            if event.event_id is not None and event.event_id in seen:
                continue
            seen.add(event.event_id or "")
            code = names.index(event.event_type)
            tags = snapshot.tags_of(event.product_id) if event.tags is None else event.tags
            by_tag.add(tags, code, event.time_ms)
            by_product.add((event.product_id,), code, event.time_ms)
            if event.event_type == PURCHASE:
                bought.add(event.product_id)
        return StoredUser(by_tag.rows(), frozenset(bought), items=by_product.rows())

    def _read(self, position: int, given: object, now_ms: int) -> Any:
        if not isinstance(given, Mapping):
            raise invalid(f"events[{position}]", given, "a JSON object")
        try:
            return event_from_fields(
                {**given, "user_id": _GUEST}, topic_type=None, record_time_ms=now_ms, event_types=self._types
            )
        except RejectedEvent as exc:
            raise invalid(f"events[{position}]", given, str(exc)) from exc


class _Counted:
    """Events by name and type, with the newest time of each name."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._counts: Counter[tuple[str, int]] = Counter()
        self._newest: dict[str, int] = {}

    def add(self, names: Iterable[str], code: int, time_ms: int) -> None:
        """Count one event under these names."""
        for name in names:
            self._counts[name, code] += 1
            self._newest[name] = max(self._newest.get(name, 0), time_ms)

    def rows(self) -> dict[str, str]:
        """Give the rows as the job would write them."""
        return {
            name: encode_counts([self._counts[name, code] for code in range(self._width)], newest)
            for name, newest in self._newest.items()
        }
