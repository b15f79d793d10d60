"""Events of an archive on their way through Kafka, each with the place that its own record had.

They are in topics of their own, named as those of the events with a prefix. The value is ``partition:offset``, a space,
and the event. So an event counts under the identity, and is shown with the position, of a record that Kafka may have
deleted.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_PLACE: Final = re.compile(rb"([0-9]+):([0-9]+) ")


class Records(NamedTuple):
    """Records of one batch, column by column."""

    values: list[bytes | None]
    topics: list[str]
    partitions: list[int]
    offsets: list[int]


def unpacked(prefix: str, records: Records) -> Records:
    """Put each event of a topic with this prefix in the place that it had; leave other records as they are.

    A record there that has no place is judged as it is.
    """
    rows = [
        _unpacked(value, topic.removeprefix(prefix), partition, offset)
        if topic.startswith(prefix)
        else (value, topic, partition, offset)
        for value, topic, partition, offset in zip(*records, strict=True)
    ]
    return Records(*(list(column) for column in zip(*rows, strict=True)))


def _unpacked(value: bytes | None, topic: str, partition: int, offset: int) -> tuple[bytes | None, str, int, int]:
    place = _PLACE.match(value or b"")
    if value is None or place is None:
        return value, topic, partition, offset
    return value[place.end() :], topic, int(place[1]), int(place[2])
