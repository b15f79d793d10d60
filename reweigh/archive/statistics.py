"""What an archive holds, and how far it is behind Kafka."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reccore.timestamps import iso_8601
from reweigh.archive.log import Snapshot
from reweigh.archive.manifest import Totals
from reweigh.archive.reading import days_of
from reweigh.errors import CommandError
from reweigh.settings import Settings
from reweigh.topic_source import end_offsets


@dataclass(frozen=True, slots=True)
class Day:
    """One event-time day in UTC."""

    day: str
    files: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """All of it. ``lag`` is in records, None when Kafka could not be asked, which ``lag_unknown`` then explains."""

    url: str
    commit: int
    days: list[Day]
    first_event: str | None
    last_event: str | None
    records: Totals
    offsets: Mapping[str, Mapping[str, int]]
    lag: int | None
    lag_unknown: str

    def as_dict(self) -> dict[str, Any]:
        """Give it for JSON, with the sums over all days."""
        sums = {name: sum(getattr(day, name) for day in self.days) for name in ("files", "rows", "bytes")}
        return {**sums, **asdict(self)}

    def lines(self) -> list[str]:
        """Give it for people."""
        sums = self.as_dict()
        dead = sum(self.records.dead.values())
        offsets = (
            f"{topic} {number}: {upto:,}" for topic, each in self.offsets.items() for number, upto in each.items()
        )
        return [
            f"{self.url}, commit {self.commit}",
            f"{sums['rows']:,} rows of {len(self.days):,} days in {sums['files']:,} files, {sums['bytes']:,} bytes",
            f"from {self.first_event or '–'} to {self.last_event or '–'}",
            f"{self.records.read:,} records = {self.records.archived:,} archived + "
            f"{self.records.duplicates:,} duplicates + {dead:,} dead letters",
            f"behind Kafka by {self.lag:,} records" if self.lag is not None else f"lag: {self.lag_unknown}",
            *(f"  offset {each}" for each in offsets),
            *(
                f"  {each.day}  {each.files:>6,} files {each.rows:>12,} rows {each.bytes:>15,} bytes"
                for each in self.days
            ),
        ]


def statistics_of(snapshot: Snapshot, url: str, settings: Settings, topics: Collection[str]) -> Statistics:
    """Gather it; Kafka is asked for the ends of the topics when an address is set."""
    files = list(snapshot.files.values())
    offsets: Mapping[str, Mapping[str, int]] = snapshot.last.offsets if snapshot.last else {}
    lag, unknown = _lag(offsets, settings, topics)
    return Statistics(
        url=url,
        commit=snapshot.number,
        days=[
            Day(str(day), len(each), sum(file.rows for file in each), sum(file.bytes for file in each))
            for day, each in days_of(snapshot).items()
        ],
        first_event=iso_8601(min(each.first_ms for each in files)) if files else None,
        last_event=iso_8601(max(each.last_ms for each in files)) if files else None,
        records=snapshot.last.totals if snapshot.last else Totals(),
        offsets=offsets,
        lag=lag,
        lag_unknown=unknown,
    )


def _lag(
    offsets: Mapping[str, Mapping[str, int]], settings: Settings, topics: Collection[str]
) -> tuple[int | None, str]:
    if not settings.kafka_bootstrap:
        return None, f"KAFKA_BOOTSTRAP is not set in {settings.source}"
    try:
        ends = end_offsets(settings.kafka_bootstrap, settings.kafka_access.librdkafka_options(), topics)
    except CommandError as exc:
        return None, str(exc)
    behind = (end - offsets.get(topic, {}).get(str(number), 0) for (topic, number), end in ends.items())
    return sum(max(0, each) for each in behind), ""
