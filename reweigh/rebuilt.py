"""Whether what was rebuilt is what is live, while events go on arriving at the live job only.

The rebuild stands still at the offsets that its group has committed. What events beyond them concern (their users,
products and tags, and the totals) is left out; everything else must be the same. Of a part of the log only this can
be said: nothing in it may be more than what is live.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reccore import encoding, layout
from reccore.errors import RejectedEvent
from reccore.event_types import EventTypes
from reccore.events import parse_event
from reweigh.sides import Sides
from reweigh.verify.log import EventLog, Offsets

_STATISTICS: Final = (layout.PRODUCT_STATISTICS, layout.TAG_STATISTICS)
_KEYS_OF_A_USER: Final = (
    layout.profile_key, layout.counts_key, layout.items_key, layout.purchased_key, layout.recent_key,
)  # fmt: skip


@dataclass(slots=True)
class Moved:
    """What events beyond the rebuild concern."""

    records: int = 0
    keys: set[str] = field(default_factory=set)
    products: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    any_tags: bool = False
    """One of them took its tags from the catalogue, so that they are not known here."""

    def fields_of(self, key: str) -> set[str]:
        """Give the fields of a statistics hash that they change."""
        return self.products if key == layout.PRODUCT_STATISTICS else self.tags


def moved_since(log: EventLog, begin: Offsets, end: Offsets, event_types: EventTypes) -> Moved:
    """Read what is beyond the rebuild."""
    moved = Moved()
    for records in log.read(begin, end):
        table = records.table
        for place, arrived, value in zip(
            *(table[name].to_pylist() for name in ("place", "arrived", "value")), strict=True
        ):
            moved.records += 1
            topic_type = event_types.by_topic[records.places[place].topic]
            try:
                event = parse_event(value, topic_type=topic_type, record_time_ms=arrived, event_types=event_types)
            except RejectedEvent:
                continue
            moved.keys |= {key_of(event.user_id) for key_of in _KEYS_OF_A_USER}
            moved.products.add(event.product_id)
            moved.tags.update(event.tags or ())
            moved.any_tags |= event.tags is None
    return moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparer:
    """Compares one key at a time.

    Args:
        scores: Whether stored scores are of one weights version on both sides.
        partial: Whether only a part of the log was rebuilt.
        expiry: Whether tags expire: the live job may have forgotten one that the rebuild has just counted.
        most_tags: The cap on the tags of a user.
        most_products: That on the products.
    """

    scores: bool
    partial: bool
    expiry: bool
    most_tags: int
    most_products: int

    def differs(self, key: str, live: Any, rebuilt: Any, moved: Moved) -> bool:
        """Whether a key that both sides, or one of them, hold is not as it must be."""
        if key in moved.keys or (key == layout.TOTALS and (self.partial or moved.records)):
            return False
        if key == layout.TAG_STATISTICS and moved.any_tags:
            return False
        if key in _STATISTICS:
            live, rebuilt = (_without(each, moved.fields_of(key)) for each in (live, rebuilt))
        if layout.user_of_counts_key(key) is not None:
            return self._counts_differ(live or {}, rebuilt or {}, self.most_tags)
        if layout.user_of_items_key(key) is not None:
            return self._counts_differ(live or {}, rebuilt or {}, self.most_products)
        if key.startswith(layout.PROFILE_PREFIX):
            return not self.partial and self._scores_differ(live or {}, rebuilt or {})
        if self.partial:
            if isinstance(rebuilt, list):  # the newest events of a part need not be among those of the whole
                return live is None
            return _is_more(live, rebuilt)
        return bool(live != rebuilt)

    def _counts_differ(self, live: Mapping[str, str], rebuilt: Mapping[str, str], most: int) -> bool:
        if self.partial:
            if len(live) >= most or self.expiry:  # which tags are there depends on the rest of the log
                rebuilt = {tag: row for tag, row in rebuilt.items() if tag in live}
            return _is_more(live, rebuilt)
        if self.expiry:
            rebuilt = {tag: row for tag, row in rebuilt.items() if tag in live}
        return live != rebuilt

    def _scores_differ(self, live: Mapping[str, str], rebuilt: Mapping[str, str]) -> bool:
        if self.expiry:
            rebuilt = {tag: score for tag, score in rebuilt.items() if tag in live}
        return live != rebuilt if self.scores else live.keys() != rebuilt.keys()


def different_keys(
    sides: Sides, comparer: Comparer, log: EventLog, begin: Offsets, event_types: EventTypes
) -> tuple[tuple[str, ...], int]:
    """Give the keys that differ, and how many records beyond ``begin`` had to be left out with what they concern."""
    nothing = Moved()
    odd = [key for key, live, rebuilt in sides.pairs() if comparer.differs(key, live, rebuilt, nothing)]
    again = list(sides.pairs(odd))
    moved = moved_since(log, begin, log.ends(), event_types)  # whatever was read just now is of events before these
    return tuple(key for key, live, rebuilt in again if comparer.differs(key, live, rebuilt, moved)), moved.records


def _without(fields: Mapping[str, str] | None, names: Iterable[str]) -> dict[str, str]:
    left_out = set(names)
    return {name: row for name, row in (fields or {}).items() if name not in left_out}


def _is_more(live: Any, rebuilt: Any) -> bool:
    """Whether something is in the rebuild of a part that is not in the whole, or more often."""
    if isinstance(rebuilt, set):
        return not rebuilt <= (live or set())
    if isinstance(rebuilt, Mapping):
        return any(name not in (live or {}) or _row_is_more(live[name], row) for name, row in rebuilt.items())
    return rebuilt is not None and live is None


def _row_is_more(live: str, rebuilt: str) -> bool:
    whole, part = _counts(live), _counts(rebuilt)
    return len(whole) != len(part) or any(more > most for more, most in zip(part, whole, strict=True))


def _counts(row: str) -> tuple[int, ...]:
    if row.startswith("["):  # statistics
        return tuple(json.loads(row)[0])
    return encoding.split_counts(encoding.counts_of_row(row))
