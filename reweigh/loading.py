"""`reweigh load`: a file of events into Kafka, each to the topic of its type, keyed by user."""

from __future__ import annotations

import json
import os
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
from reccore.events import LARGEST_EVENT, TOO_LARGE
from reweigh.errors import CommandError
from reweigh.event_files import Record, ToRecord, reader
from reweigh.kafka import EventProducer, check_topics
from reweigh.lines import AUTO, LONGEST_LINE, Row, file_format, read_rows
from reweigh.resume import Loaded, LoadState

SHOWN: Final = 20
"""Rejected lines that are printed; all of them go to the file of ``--rejected``."""

_ROWS_A_REFRESH: Final = 2_000
_SECONDS_BETWEEN_STATES: Final = 5.0


@dataclass(slots=True)
class LoadReport:
    """What came of a load."""

    sent: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    before: Loaded = field(default_factory=Loaded)
    """What an interrupted load had done already."""

    @property
    def events(self) -> int:
        """Events that Kafka has acknowledged, those of an interrupted load among them."""
        return self.sent.total()

    def lines(self) -> list[str]:
        """Say it in a few lines."""
        now = self.events - self.before.sent.total()
        speed = now / self.seconds if self.seconds else 0.0
        parts = ", ".join(f"{kind} {count:,}" for kind, count in self.sent.most_common())
        said = [f"{now:,} events in {self.seconds:.1f} s ({speed:,.0f}/s){': ' if parts else ''}{parts}"]
        if self.before.rows:
            said.append(
                f"went on after row {self.before.rows:,} of a load that was interrupted: {self.events:,} in all"
            )
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

    Rejected lines are printed to stderr by number and reason. A load that was interrupted goes on where it was. Raises
    ``CommandError`` when the file can't be read or a record isn't acknowledged.
    """
    fmt = file_format(file, fmt)
    check_topics(bootstrap, event_types.topics.values(), access=access)
    to_record = reader(fmt, event_types, namespace=namespace, validate=validate)
    state = LoadState(file, {"format": fmt, "namespace": namespace, "validate": str(validate), "bootstrap": bootstrap})
    before = state.read()
    report = LoadReport(Counter(before.sent), Counter(before.rejected), before=before)
    began = time.monotonic()
    producer = EventProducer(bootstrap, access=access)
    rejected_out = _opened(rejected_file, before) if rejected_file else None
    try:
        _send_rows(file, fmt, to_record, producer, event_types.topics, rejected_out, report, state)
        producer.close()
    finally:
        if rejected_out:
            rejected_out.close()
    state.forget()
    report.seconds = time.monotonic() - began
    return report


def _send_rows(
    file: Path,
    fmt: str,
    to_record: ToRecord,
    producer: EventProducer,
    topics: dict[str, str],
    out: IO[bytes] | None,
    report: LoadReport,
    state: LoadState,
) -> None:
    kept_at = time.monotonic()
    with progress_bar(file) as bar:
        for count, row in enumerate(read_rows(file, fmt)):
            if count % _ROWS_A_REFRESH == 0:
                bar.update(row.position - bar.n)
                if time.monotonic() - kept_at > _SECONDS_BETWEEN_STATES and count > report.before.rows:
                    producer.flush()
                    state.write(Loaded(count, report.sent, report.rejected, 0 if out is None else _written(out)))
                    kept_at = time.monotonic()
            if count < report.before.rows:
                continue
            try:
                record = _sendable(row, to_record)
            except RejectedEvent as exc:
                report.rejected[str(exc.reason)] += 1
                _tell_rejected(exc, row.number, row.raw, report.rejected.total(), bar, out)
                continue
            producer.send(topics[record.event_type], record.key, record.value)
            report.sent[record.event_type] += 1
        bar.update((bar.total or 0) - bar.n)


def _sendable(row: Row, to_record: ToRecord) -> Record:
    """Give the record of a row. Raises :class:`RejectedEvent`, also for one that Kafka would not take for its size."""
    if row.fields is None and len(row.raw) > LONGEST_LINE:
        raise RejectedEvent(TOO_LARGE, f"more than {LONGEST_LINE} bytes, at most {LARGEST_EVENT} are allowed")
    record = to_record(row)
    if len(record.value) > LARGEST_EVENT:
        raise RejectedEvent(TOO_LARGE, f"{len(record.value)} bytes, at most {LARGEST_EVENT} are allowed")
    return record


def _opened(file: Path, before: Loaded) -> IO[bytes]:
    """Open the file of rejected lines where the load goes on, without those that will be met again."""
    if not before.rows or not file.exists():
        return file.open("wb")
    opened = file.open("r+b")
    opened.truncate(before.rejected_bytes)
    opened.seek(0, os.SEEK_END)
    return opened


def _written(out: IO[bytes]) -> int:
    out.flush()
    return out.tell()


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
    exc: RejectedEvent, number: int, raw: bytes, so_far: int, bar: tqdm[Never], out: IO[bytes] | None
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
        out.write(json.dumps(detail).encode() + b"\n")
