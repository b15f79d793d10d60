"""Reading one's own writes: whether an event that was sent is in an answer, and waiting until it is.

The job numbers each user's events in the order in which they come to it, writes with each row of counts the highest
number that it holds, and keeps the places of the user's newest arrivals with their numbers and tags. So an event is in
an answer when the rows of all its tags and of its product, as they were read for that answer, hold its number or a
higher one. (Offsets prove nothing of the kind: on their way through the job events of one user pass each other.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from reccore import encoding
from reccore.errors import RejectedEvent
from reccore.event_types import PURCHASE, EventTypes
from reccore.events import Event, parse_event
from recsvc.errors import IngestUnavailable, StoreUnavailable
from recsvc.ingest import Placed
from recsvc.problems import invalid
from recsvc.settings import MOST_ROWS_PER_USER
from recsvc.settled_records import SettledRecords
from recsvc.user_store import StoredUser, UserStore

MOST_WAIT_MS: Final = 5_000
WAIT_MS: Final = 300
_MOST_WAITING: Final = 4
"""Requests of a process that may wait at once: each takes a thread."""
_SHORTEST_PAUSE_SECONDS: Final = 0.002
_LONGEST_PAUSE_SECONDS: Final = 0.02

APPLIED, PENDING, DUPLICATE, DEAD_LETTER, UNKNOWN = STATES = (
    "applied", "pending", "duplicate", "dead_letter", "unknown",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Awaited:
    """A user as last read (None: could not be read), and what is known of the event there."""

    user: StoredUser | None
    state: str
    reason: str | None = None

    def as_dict(self, place: Placed) -> dict[str, Any]:
        """Give the member ``after`` of an answer."""
        reason = {} if self.reason is None else {"reason": self.reason}
        return {"position": str(place), "state": self.state, **reason}


class OwnWrites:
    """Looks for events among what the job has written; one instance a process."""

    def __init__(
        self,
        store: UserStore,
        settled: SettledRecords,
        event_types: EventTypes,
        *,
        most_tags: int = MOST_ROWS_PER_USER,
        most_products: int = MOST_ROWS_PER_USER,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._settled, self._event_types = store, settled, event_types
        self._most_tags, self._most_products = most_tags, most_products
        self._sleep, self._clock = sleep, clock
        self._waiting = threading.Semaphore(_MOST_WAITING)

    def wait(self, user_id: str, place: Placed, wait_ms: int) -> Awaited:
        """Wait until the event at ``place`` is in what is read of the user, ``wait_ms`` at most.

        Raises:
            Problem: The event is somebody else's.
        """
        user: StoredUser | None = None
        try:
            user, arrived = self._wait_for_arrival(user_id, place, wait_ms)
            if arrived:
                return Awaited(user, APPLIED)
            return self._judge(user_id, place, user)
        except StoreUnavailable:
            return Awaited(None, UNKNOWN)
        except IngestUnavailable:
            return Awaited(user, PENDING)

    def _wait_for_arrival(self, user_id: str, place: Placed, wait_ms: int) -> tuple[StoredUser, bool]:
        may_wait = wait_ms > 0 and self._waiting.acquire(blocking=False)
        try:
            deadline = self._clock() + (wait_ms / 1000 if may_wait else 0)
            pause = _SHORTEST_PAUSE_SECONDS
            while True:
                try:
                    user = self._user(user_id)
                except StoreUnavailable:
                    if self._clock() >= deadline:
                        raise
                else:
                    arrived = self._is_in(user, place)
                    if arrived or self._clock() >= deadline:
                        return user, arrived
                self._sleep(max(0.0, min(pause, deadline - self._clock())))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        finally:
            if may_wait:
                self._waiting.release()

    def _is_in(self, user: StoredUser, place: Placed) -> bool:
        beginning = self._beginning(place)
        arrivals = map(encoding.decode_arrival, user.arrivals)
        found = next((each for each in arrivals if each.event.startswith(beginning)), None)
        if found is None:
            return False
        product_id = found.event[len(beginning) :]
        if self._most_products:
            if product_id not in user.items or encoding.number_of_row(user.items[product_id]) < found.number:
                return False
        elif self._event_types.by_topic[place.topic] == PURCHASE and product_id not in user.purchased:
            return False
        return all(tag in user.rows and encoding.number_of_row(user.rows[tag]) >= found.number for tag in found.tags)

    def _user(self, user_id: str) -> StoredUser:
        return self._store.user(user_id, arrivals=True, items=self._most_products > 0, ratings=True)

    def _judge(self, user_id: str, place: Placed, user: StoredUser) -> Awaited:
        """Say what has become of an event that did not arrive, once a checkpoint covers it."""
        if not self._settled.is_settled(place):
            return Awaited(user, PENDING)
        user = self._user(user_id)  # everything that the checkpoint covers is there by now
        beginning = self._beginning(place)
        if any(encoding.decode_arrival(each).event.startswith(beginning) for each in user.arrivals):
            return Awaited(user, APPLIED)
        record = self._settled.record(place)
        if record is None:
            return Awaited(user, UNKNOWN, "there is no such record, or not any more")
        try:
            event = parse_event(
                record.value,
                topic_type=self._event_types.by_topic[place.topic],
                record_time_ms=record.time_ms,
                event_types=self._event_types,
            )
        except RejectedEvent as exc:
            return Awaited(user, DEAD_LETTER, str(exc.reason))
        if event.user_id != user_id:
            raise invalid("after", str(place), "the position of an event of this user")
        recent = self._store.recent(user_id, 0, -1)
        if any(text.startswith(beginning) for text, _ in recent):
            return Awaited(user, APPLIED)
        if event.event_id is None:
            return Awaited(user, APPLIED if self._holds_rows(user, event) else UNKNOWN)
        if not recent or event.time_ms <= recent[-1][1]:
            return Awaited(user, UNKNOWN)  # it may have been applied, and be no longer among the newest, or be lost
        return Awaited(user, DUPLICATE)

    def _holds_rows(self, user: StoredUser, event: Event) -> bool:
        """Whether the rows of an event that can't be a repeat are there, or may have left a user who has the most."""
        tags = event.tags or ()  # those that the catalogue named are not known here
        if len(user.rows) < self._most_tags and not all(tag in user.rows for tag in tags):
            return False
        if self._most_products:
            return event.product_id in user.items or len(user.items) >= self._most_products
        return event.event_type != PURCHASE or event.product_id in user.purchased

    def _beginning(self, place: Placed) -> str:
        """Give what precedes the product in the event's text."""
        number = self._event_types.names.index(self._event_types.by_topic[place.topic])
        return f"{number}:{place.partition}:{place.offset}:"
