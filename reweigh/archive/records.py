"""Records of Kafka on their way into an archive, whatever they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from reccore.errors import RejectedEvent
from reweigh.archive.manifest import Totals
from reweigh.archive.schema import DataSet


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

    def places(self, kept: Sequence[int]) -> dict[str, Sequence[Any]]:
        """Give those columns of some records that every archive has."""
        return {
            "topic": [self.topics[i] for i in kept],
            "partition": [self.partitions[i] for i in kept],
            "offset": [self.offsets[i] for i in kept],
            "arrived_ms": [self.arrived_ms[i] for i in kept],
        }


class Judged(Protocol):
    """A batch that was judged, a row a record."""

    @property
    def event_ids(self) -> Sequence[str | None]:
        """The id by which a record counts once, None where its place does; nothing of meaning where it is rejected."""

    @property
    def rejected(self) -> Mapping[int, RejectedEvent]:
        """What is no valid record, by its place in the batch."""


J = TypeVar("J", bound=Judged)


class RecordReader(Protocol[J]):
    """Reads the records of one data set."""

    @property
    def data_set(self) -> DataSet:
        """What their archive holds."""

    @property
    def topics(self) -> Collection[str]:
        """Where they come from."""

    def parse(self, records: Records) -> J:
        """Judge every record."""

    def rows(self, records: Records, parsed: J, kept: Sequence[int]) -> pa.RecordBatch:
        """Give the rows of ``kept``, places in the batch that hold valid records."""


def records_of(messages: Sequence[Any]) -> Records:
    """Give messages of Kafka column by column."""
    return Records(
        [message.topic() for message in messages],
        [message.partition() for message in messages],
        [message.offset() for message in messages],
        [message.timestamp()[1] for message in messages],
        [message.value() for message in messages],
    )


def batch_of(columns: Mapping[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    """Give columns as rows of a schema."""
    return pa.record_batch([pa.array(columns[each.name], each.type) for each in schema], schema=schema)


def totals_of(read: int, archived: int, parsed: Judged) -> Totals:
    """Count what became of a batch."""
    dead = Counter(str(error.reason) for error in parsed.rejected.values())
    return Totals(read, archived, read - archived - dead.total(), dict(dead))
