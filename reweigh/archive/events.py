"""Records of Kafka, judged by the project's one parser, as rows of the archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pyarrow as pa

from flink_jobs.fast_parse import BatchParser, ParsedBatch
from reccore.event_types import EventTypes
from reweigh.archive.manifest import Totals
from reweigh.archive.schema import SCHEMA, action_of

_NO_BESIDE: Final[tuple[str | None, str | None]] = (None, None)


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one batch, column by column."""

    topics: Sequence[str]
    partitions: Sequence[int]
    offsets: Sequence[int]
    arrived_ms: Sequence[int]
    values: Sequence[bytes | None]

    def __len__(self) -> int:
        return len(self.offsets)


def records_of(messages: Sequence[Any]) -> Records:
    """Give messages of Kafka column by column."""
    return Records(
        [message.topic() for message in messages],
        [message.partition() for message in messages],
        [message.offset() for message in messages],
        [message.timestamp()[1] for message in messages],
        [message.value() for message in messages],
    )


class _Beside(msgspec.Struct):
    """What the archive keeps of an event and the counting has no use for; ``metadata`` as the text that was sent."""

    session_id: str | None = None
    metadata: msgspec.Raw = msgspec.Raw(b"null")


class EventReader:
    """Reads batches of one configuration's topics."""

    def __init__(self, event_types: EventTypes) -> None:
        self._parser = BatchParser(event_types)
        self._type_of = event_types.by_topic
        self._action_of = {name: action_of(name) for name in event_types.names}
        self._beside = msgspec.json.Decoder(_Beside).decode

    def parse(self, records: Records) -> ParsedBatch:
        """Judge every record."""
        types = [self._type_of[topic] for topic in records.topics]
        return self._parser.parse(records.values, types, records.arrived_ms)

    def rows(self, records: Records, parsed: ParsedBatch, kept: Sequence[int]) -> pa.RecordBatch:
        """Give the rows of ``kept``, places in the batch that hold valid events."""
        topics, times = [records.topics[i] for i in kept], [parsed.times_ms[i] for i in kept]
        types = [self._type_of[topic] for topic in topics]
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
            "topic": topics,
            "partition": [records.partitions[i] for i in kept],
            "offset": [records.offsets[i] for i in kept],
            "arrived_ms": [records.arrived_ms[i] for i in kept],
        }
        return pa.record_batch([pa.array(columns[each.name], each.type) for each in SCHEMA], schema=SCHEMA)

    def _read_beside(self, raw: bytes | None) -> tuple[str | None, str | None]:
        # A name may be written with escapes; without them it stands in the bytes as it is.
        if raw is None or not (b"metadata" in raw or b"session_id" in raw or b"\\u" in raw):
            return _NO_BESIDE
        found = self._beside(raw)
        metadata = bytes(found.metadata)
        return found.session_id, None if metadata == b"null" else metadata.decode("utf-8")


def totals_of(read: int, archived: int, parsed: ParsedBatch) -> Totals:
    """Count what became of a batch."""
    dead = Counter(str(error.reason) for error in parsed.rejected.values())
    return Totals(read, archived, read - archived - dead.total(), dict(dead))
