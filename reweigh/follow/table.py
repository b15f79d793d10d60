"""What a followed topic is to the follower: how its records are judged, and what they change in Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reweigh.topic_source import Place


class Changes(Protocol):
    """What some records of one topic change in Redis, as one transaction."""

    def read(self, client: Any) -> None:
        """Read what the change depends on."""

    def queue(self, pipeline: Any) -> None:
        """Queue the commands, each for keys of one slot of a cluster."""


class Table(Protocol):
    """One topic and what becomes of its records."""

    @property
    def topic(self) -> str:
        """Its name."""

    @property
    def version_key(self) -> str | None:
        """Key of the integer that is raised by each change, None where there is none."""

    def judge(self, key: bytes | None, value: bytes | None, time_ms: int) -> object:
        """Read one record, of that Kafka time (epoch ms). Raises :class:`RejectedEvent`."""

    def keys(self, judged: Any) -> Sequence[str]:
        """Give keys that a record changes: one in each slot that it touches, the version's aside.

        Of all records of a table there are as many.
        """

    def changes(self, judged: Sequence[Any]) -> Changes:
        """Give what these records, in the order in which they were sent, come to."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A record that is applied, and where it stood."""

    place: Place
    offset: int
    record: Any


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records in the order of their partitions, and the offset after the last one of each partition."""

    ends: Mapping[Place, int]
    tables: Sequence[tuple[Table, Sequence[Judged]]]


def name_of(place: Place) -> str:
    """Give the field under which the offset of a partition is stored."""
    return f"{place[0]}:{place[1]}"


def place_of(name: str) -> Place:
    """Read such a field; the inverse of :func:`name_of`."""
    topic, _, partition = name.rpartition(":")
    return topic, int(partition)
