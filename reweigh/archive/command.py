"""The commands: `reweigh archive run`, `read`, `compact` and `stats`."""

from __future__ import annotations

import argparse
import csv
import os
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
import pyarrow.parquet as pq

from reccore.followed_topics import FollowedTopics
from recsvc.log_lines import LogSettings, begin_log
from reweigh.archive.compaction import Compactor
from reweigh.archive.events import EventReader
from reweigh.archive.log import Log
from reweigh.archive.ratings import RatingReader
from reweigh.archive.reading import read_day, refuse_another, rows_of
from reweigh.archive.records import RecordReader
from reweigh.archive.run import ArchiveRun, KafkaLog
from reweigh.archive.schema import DATA_SETS, EVENTS
from reweigh.archive.sending import send_events
from reweigh.archive.settings import ArchiveSettings, read_archive_settings
from reweigh.archive.statistics import Statistics, statistics_of
from reweigh.archive.store import Store, open_store
from reweigh.errors import CommandError
from reweigh.progress import Bars
from reweigh.settings import chosen_values, read_settings


def run(options: argparse.Namespace) -> int:
    """`reweigh archive run`: exit code 0 when it was asked to end and everything is written, else 1."""
    settings, archive, reader = read_settings(options.env), _settings(options), _reader(options)
    values, _ = chosen_values(options.env)
    begin_log(LogSettings.from_settings({**values, **os.environ}))
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ending.set())
    kafka = KafkaLog(
        settings.required("KAFKA_BOOTSTRAP"),
        reader,
        settings.kafka_access.librdkafka_options(),
        settings.deduplication_window_seconds,
    )
    try:
        ArchiveRun(kafka, archive, ending).run()
    except OSError as exc:
        raise CommandError(f"the last records could not be written, the next run reads them again: {exc}") from exc
    return 0


def read(options: argparse.Namespace) -> int:
    """`reweigh archive read`: rows to standard output, in the order of time."""
    store, data_set = _store(options), DATA_SETS[options.data_set]
    if options.output == "parquet":
        table = read_day(store, options.day, data_set, user_id=options.user)
        pq.write_table(table.slice(0, options.limit), sys.stdout.buffer, compression="snappy")
        return 0
    rows = rows_of(store, options.day, data_set, options.user, options.limit)
    if options.output == "csv":
        out = csv.DictWriter(sys.stdout, data_set.schema.names, lineterminator="\n")
        out.writeheader()
        out.writerows({**row, "tags": "|".join(row["tags"])} if row.get("tags") is not None else row for row in rows)
        return 0
    encoder = msgspec.json.Encoder()
    for row in rows:
        if row.get("metadata") is not None:
            row["metadata"] = msgspec.Raw(row["metadata"])
        sys.stdout.buffer.write(encoder.encode(row) + b"\n")
    sys.stdout.buffer.flush()
    return 0


def compact(options: argparse.Namespace) -> int:
    """`reweigh archive compact`."""
    merges = Compactor(_store(options), time.time).compact(
        days=None if options.day is None else {options.day}, smaller_than=options.smaller_than * 2**20
    )
    count = 0
    for merged in merges:
        count += 1
        print(f"{merged.day}: {merged.files} files → 1, {merged.rows:,} rows, {merged.bytes:,} bytes", flush=True)
    if not count:
        print("nothing to merge")
    return 0


def send(options: argparse.Namespace) -> int:
    """`reweigh archive send`: exit code 1 when events were left out."""
    settings = read_settings(options.env)
    with Bars() as bars:
        sent, left_out = send_events(
            _store(options),
            settings.required("KAFKA_BOOTSTRAP"),
            settings.event_types,
            settings.kafka_access,
            bars.tell,
        )
    print(f"{sent.total():,} events sent: {_counts(sent)}" if sent else "no events to send")
    if left_out:
        print(f"{left_out.total():,} of types that are not configured were left out: {_counts(left_out)}")
    return 1 if left_out else 0


def _counts(by_type: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in by_type.most_common())


def stats(options: argparse.Namespace) -> int:
    """`reweigh archive stats`."""
    store, settings = _store(options), read_settings(options.env)
    found = statistics_of(Log(store).read(), store.url, settings, _reader(options).topics)
    print(
        msgspec.json.format(msgspec.json.encode(found.as_dict())).decode() if options.output == "json" else _text(found)
    )
    return 0


def _text(found: Statistics) -> str:
    return "\n".join(found.lines())


def _reader(options: argparse.Namespace) -> RecordReader[Any]:
    event_types = read_settings(options.env).event_types
    if options.data_set == EVENTS.name:
        return EventReader(event_types)
    values, _ = chosen_values(options.env)
    return RatingReader(FollowedTopics.from_settings(values, event_types).ratings)


def _settings(options: argparse.Namespace) -> ArchiveSettings:
    settings = read_archive_settings(options.env, DATA_SETS[options.data_set])
    return replace(settings, url=options.url) if options.url else settings


def _store(options: argparse.Namespace) -> Store:
    store = open_store(_settings(options).url)
    snapshot = Log(store).read()
    refuse_another(store, snapshot, DATA_SETS[options.data_set])
    if not snapshot.number:
        raise CommandError(
            f"there is no archive of {options.data_set} at {store.url}: `reweigh archive run --data-set "
            f"{options.data_set}` makes one with the first that it reads, --url names another"
        )
    return store
