"""Events of Kafka, judged by the project's one parser, as rows of the archive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import msgspec
import pyarrow as pa

from flink_jobs.fast_parse import BatchParser, ParsedBatch
from reccore.event_types import EventTypes
from reweigh.archive.records import Records, batch_of
from reweigh.archive.schema import EVENTS, SCHEMA, action_of

_NO_BESIDE: Final[tuple[str | None, str | None]] = (None, None)


class _Beside(msgspec.Struct):
    """What the archive keeps of an event and the counting has no use for; ``metadata`` as the text that was sent."""

    session_id: str | None = None
    metadata: msgspec.Raw = msgspec.Raw(b"null")


class EventReader:
    """Reads batches of one configuration's topics; fulfils :class:`reweigh.archive.records.RecordReader`."""

    data_set = EVENTS

    def __init__(self, event_types: EventTypes) -> None:
        self._parser = BatchParser(event_types)
        self._type_of = event_types.by_topic
        self.topics = tuple(event_types.by_topic)
        self._action_of = {name: action_of(name) for name in event_types.names}
        self._beside = msgspec.json.Decoder(_Beside).decode

    def parse(self, records: Records) -> ParsedBatch:
        """Judge every record."""
        types = [self._type_of[topic] for topic in records.topics]
        return self._parser.parse(records.values, types, records.arrived_ms)

    def rows(self, records: Records, parsed: ParsedBatch, kept: Sequence[int]) -> pa.RecordBatch:
        """Give the rows of ``kept``, places in the batch that hold valid events."""
        times, types = [parsed.times_ms[i] for i in kept], [self._type_of[records.topics[i]] for i in kept]
        beside = [self._read_beside(records.values[i]) for i in kept]
        columns = {
            "user_id": [parsed.user_ids[i] for i in kept],
            "item_id": [parsed.product_ids[i] for i in kept],
            "action": [self._action_of[name] for name in types],
            "process_time": [time / 1000 for time in times],
            "hit_flink": [True] * len(times),
            "event_id": [parsed.event_ids[i] for i in kept],
            "event_type": types,
            "timestamp_ms": times,
            "tags": [parsed.tags[i] for i in kept],
            "session_id": [session for session, _ in beside],
            "metadata": [metadata for _, metadata in beside],
            **records.places(kept),
        }
        return batch_of(columns, SCHEMA)

    def _read_beside(self, raw: bytes | None) -> tuple[str | None, str | None]:
        # A name may be written with escapes; without them it stands in the bytes as it is.
        if raw is None or not (b"metadata" in raw or b"session_id" in raw or b"\\u" in raw):
            return _NO_BESIDE
        try:
            found = self._beside(raw)
        except (msgspec.MsgspecError, RecursionError):
            return _by_the_rule(raw)
        metadata = bytes(found.metadata)
        return found.session_id, None if metadata == b"null" else metadata.decode("utf-8")


def _by_the_rule(raw: bytes) -> tuple[str | None, str | None]:
    # Of a repeated member the last counts, and the others may hold what the typed decoder refuses.
    fields = json.loads(raw, parse_int=msgspec.Raw, parse_float=msgspec.Raw)
    metadata = fields.get("metadata")
    return fields.get("session_id"), None if metadata is None else msgspec.json.encode(metadata).decode("utf-8")
