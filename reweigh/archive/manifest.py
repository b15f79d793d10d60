"""A manifest: what one commit has added and removed, and how far the topics are archived with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from reweigh.archive.errors import ArchiveError
from reweigh.archive.schema import DATA_SETS, EVENTS

Offsets = Mapping[str, Mapping[str, int]]
"""Topic → partition (as text, since JSON has no other names) → the offset after the last record that is archived."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file: its final path, its name until then, and what it holds (times in epoch ms, first and last)."""

    path: str
    staged: str
    rows: int
    bytes: int
    first_ms: int
    last_ms: int
    arrived_first_ms: int
    arrived_last_ms: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What has become of the records so far: read = archived + duplicates + dead."""

    read: int = 0
    archived: int = 0
    duplicates: int = 0
    dead: Mapping[str, int] = field(default_factory=dict)
    """By reason."""

    def plus(self, other: Totals) -> Totals:
        """Add two."""
        reasons = {*self.dead, *other.dead}
        return Totals(
            self.read + other.read,
            self.archived + other.archived,
            self.duplicates + other.duplicates,
            {reason: self.dead.get(reason, 0) + other.dead.get(reason, 0) for reason in sorted(reasons)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One commit. ``token`` is different for every attempt, so that a writer knows its own.

    ``cluster`` is Kafka's own id: offsets of another cluster mean nothing. ``flushes`` counts the commits that
    brought new events: the index of event ids must know all of them. ``data_set`` is the kind of records that the
    archive holds (manifests of before there were several don't name it).
    """

    number: int
    archive: str
    token: str
    cluster: str
    flushes: int
    offsets: Offsets
    totals: Totals
    written_at: float
    data_set: str = EVENTS.name
    added: tuple[DataFile, ...] = ()
    removed: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """Write it."""
        return (json.dumps(asdict(self)) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes, path: str) -> Manifest:
        """Read it; ``path`` is for the message. Raises :class:`ArchiveError`."""
        try:
            found = json.loads(text)
            added = tuple(DataFile(**each) for each in found.pop("added"))
            totals = Totals(**found.pop("totals"))
            manifest = cls(**{**found, "added": added, "totals": totals, "removed": tuple(found["removed"])})
            _ = DATA_SETS[manifest.data_set]
            return manifest
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise ArchiveError(f"{path} is no manifest of an archive ({type(exc).__name__}: {exc})") from exc
