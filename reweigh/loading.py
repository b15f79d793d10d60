"""`reweigh load`: a file of events into Kafka, each to the topic of its type, keyed by user."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Never

from tqdm import tqdm

from reccore.access import OPEN, KafkaAccess
from reccore.errors import RejectedEvent
from reccore.event_types import EventTypes
from reweigh.errors import CommandError
from reweigh.event_files import ToRecord, reader
from reweigh.kafka import EventProducer, check_topics
from reweigh.lines import AUTO, file_format, read_rows

SHOWN: Final = 20
"""Rejected lines that are printed; all of them go to the file of ``--rejected``."""

_ROWS_A_REFRESH: Final = 2_000


@dataclass(slots=True)
class LoadReport:
    """What came of a load."""

    sent: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def events(self) -> int:
        """Events that Kafka has acknowledged."""
        return self.sent.total()

    def lines(self) -> list[str]:
        """Say it in a few lines."""
        speed = self.events / self.seconds if self.seconds else 0.0
        parts = ", ".join(f"{kind} {count:,}" for kind, count in self.sent.most_common())
        said = [f"{self.events:,} events in {self.seconds:.1f} s ({speed:,.0f}/s){': ' if parts else ''}{parts}"]
        if self.rejected:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.rejected.most_common())
            said.append(f"{self.rejected.total():,} lines rejected, not sent: {reasons}")
        return said


def load_events(
    file: Path,
    bootstrap: str,
    event_types: EventTypes,
    *,
    fmt: str = AUTO,
    validate: bool = True,
    namespace: str = "",
    rejected_file: Path | None = None,
    access: KafkaAccess = OPEN,
) -> LoadReport:
    """Send every event of ``file``; give the report once Kafka has acknowledged them all.

    Rejected lines are printed to stderr by number and reason. Raises ``CommandError`` when the file can't be read or
    a record isn't acknowledged.
    """
    fmt = file_format(file, fmt)
    check_topics(bootstrap, event_types.topics.values(), access=access)
    to_record = reader(fmt, event_types, namespace=namespace, validate=validate)
    began = time.monotonic()
    producer = EventProducer(bootstrap, access=access)
    rejected_out = rejected_file.open("w", encoding="utf-8") if rejected_file else None
    try:
        report = _send_rows(file, fmt, to_record, producer, event_types.topics, rejected_out)
        producer.close()
    finally:
        if rejected_out:
            rejected_out.close()
    report.seconds = time.monotonic() - began
    return report


def _send_rows(
    file: Path, fmt: str, to_record: ToRecord, producer: EventProducer, topics: dict[str, str], out: IO[str] | None
) -> LoadReport:
    report = LoadReport()
    with progress_bar(file) as bar:
        for count, row in enumerate(read_rows(file, fmt)):
            try:
                record = to_record(row)
            except RejectedEvent as exc:
                report.rejected[str(exc.reason)] += 1
                _tell_rejected(exc, row.number, row.raw, report.rejected.total(), bar, out)
                continue
            producer.send(topics[record.event_type], record.key, record.value)
            report.sent[record.event_type] += 1
            if count % _ROWS_A_REFRESH == 0:
                bar.update(row.position - bar.n)
        bar.update((bar.total or 0) - bar.n)
    return report


def progress_bar(file: Path) -> tqdm[Never]:
    """A bar over the bytes of a file; where there is no terminal, a line every few seconds."""
    try:
        size = file.stat().st_size
    except OSError as exc:
        raise CommandError(f"{file} can't be read: {exc.strerror or exc}") from exc
    return counting_bar(size, file.name, "B")


def counting_bar(total: int, what: str, unit: str) -> tqdm[Never]:
    """A bar up to ``total``; where there is no terminal, a line every few seconds."""
    slow = 0.1 if sys.stderr.isatty() else 5.0
    return tqdm(total=total, unit=unit, unit_scale=True, desc=what, mininterval=slow, miniters=1)


def _tell_rejected(
    exc: RejectedEvent, number: int, raw: bytes, so_far: int, bar: tqdm[Never], out: IO[str] | None
) -> None:
    if so_far <= SHOWN:
        bar.write(f"line {number}: {exc}", file=sys.stderr)
    elif so_far == SHOWN + 1:
        bar.write("further rejected lines are only counted (--rejected FILE keeps them all)", file=sys.stderr)
    if out is not None:
        detail = {
            "line": number,
            "reason": str(exc.reason),
            "detail": exc.detail,
            "raw": raw.decode("utf-8", "replace"),
        }
        out.write(json.dumps(detail) + "\n")
