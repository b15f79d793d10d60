"""The parser of the hot path: a batch of records at a time, the ordinary ones decided in C.

:func:`reccore.events.parse_event` is the rule. A record is taken here only when a typed decoder has already proved what
that rule would check one field at a time; anything unusual (an unknown member, an odd time, a wrong type) is judged by
the rule itself, which also knows the reason. A property test holds the two to the same verdict and values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from reccore.errors import RejectedEvent
from reccore.event_types import ALIASES, EventTypes
from reccore.events import DEEPEST_NESTING, LONGEST_ID, LONGEST_TAG, MOST_TAGS, Event, parse_event
from reccore.timestamps import LATEST_MS

_Identifier = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
_Tag = Annotated[str, Meta(min_length=1, max_length=LONGEST_TAG)]
_MILLISECONDS_FROM: Final = 100_000_000_000


class OrdinaryRecord(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The members of an ordinary record, ids as strings and times in milliseconds; others are judged by the rule."""

    user_id: _Identifier
    product_id: _Identifier | None = None
    event_id: _Identifier | None = None
    item_id: _Identifier | None = None
    event_type: str | None = None
    action: str | None = None
    timestamp: int | None = None
    process_time: int | None = None
    tags: Annotated[list[_Tag], Meta(max_length=MOST_TAGS)] | None = None
    session_id: str | None = None
    metadata: dict[str, Any] | None = None


@dataclass(slots=True)
class ParsedBatch:
    """A batch by column, a row a record; the other columns of a row in ``rejected`` hold nothing of meaning."""

    event_ids: list[str | None] = field(default_factory=list)
    user_ids: list[str | None] = field(default_factory=list)
    product_ids: list[str | None] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    tags: list[Sequence[str] | None] = field(default_factory=list)
    metadata: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """By row, of those that have any."""
    rejected: dict[int, RejectedEvent] = field(default_factory=dict)

    def append(self, event: Event) -> None:
        """Add a valid event as the next row."""
        if event.metadata:
            self.metadata[len(self.user_ids)] = event.metadata
        self.event_ids.append(event.event_id)
        self.user_ids.append(event.user_id)
        self.product_ids.append(event.product_id)
        self.times_ms.append(event.time_ms)
        self.tags.append(event.tags)

    def reject(self, error: RejectedEvent) -> None:
        """Add a rejected record as the next row."""
        self.rejected[len(self.user_ids)] = error
        self.event_ids.append(None)
        self.user_ids.append(None)
        self.product_ids.append(None)
        self.times_ms.append(0)
        self.tags.append(None)


class BatchParser:
    """Parses the records of all topics of one configuration."""

    def __init__(self, event_types: EventTypes) -> None:
        self._event_types = event_types
        self._decode = msgspec.json.Decoder(OrdinaryRecord).decode
        known = (*event_types.names, *ALIASES)
        self._type_named = {name: event_types.canonical(name) for name in known}

    def parse(
        self, raws: Sequence[bytes | None], topic_types: Sequence[str], record_times_ms: Sequence[int]
    ) -> ParsedBatch:
        """Read a batch: a record's bytes, the event type of its topic and its Kafka time a row."""
        batch = ParsedBatch()
        # Bound once: this loop runs for every record that a shop ever sends.
        decode, type_named, add_event_id = self._decode, self._type_named, batch.event_ids.append
        add_user, add_product, add_time, add_tags = (
            batch.user_ids.append,
            batch.product_ids.append,
            batch.times_ms.append,
            batch.tags.append,
        )
        for raw, topic_type, record_time_ms in zip(raws, topic_types, record_times_ms, strict=True):
            try:
                record = decode(raw)  # type: ignore[arg-type]  # None raises TypeError, the rule's to judge
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
                self._judge(batch, raw, topic_type, record_time_ms)
                continue
            product_id = record.product_id or record.item_id
            time_ms = record.timestamp
            if time_ms is None:
                time_ms = record.process_time if record.process_time is not None else record_time_ms
            named = record.event_type or record.action
            if (
                product_id is None
                or not _MILLISECONDS_FROM <= time_ms <= LATEST_MS
                or (named is not topic_type and named is not None and type_named.get(named) != topic_type)
                or record.event_type == ""
                or (record.metadata is not None and _may_be_deep(raw))
            ):
                self._judge(batch, raw, topic_type, record_time_ms)
                continue
            tags = record.tags
            if record.metadata:
                batch.metadata[len(batch.user_ids)] = record.metadata
            add_event_id(record.event_id)
            add_user(record.user_id)
            add_product(product_id)
            add_time(time_ms)
            add_tags(tags if tags is None or len(tags) < 2 else list(dict.fromkeys(tags)))
        return batch

    def _judge(self, batch: ParsedBatch, raw: bytes | None, topic_type: str, record_time_ms: int) -> None:
        try:
            event = parse_event(
                raw, topic_type=topic_type, record_time_ms=record_time_ms, event_types=self._event_types
            )
        except RejectedEvent as error:
            batch.reject(error)
        else:
            batch.append(event)


def _may_be_deep(raw: bytes | None) -> bool:
    return raw is not None and raw.count(b"{") + raw.count(b"[") > DEEPEST_NESTING
