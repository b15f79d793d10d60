"""`reweigh archive run`: reads, flushes, waits out what a store refuses, and compacts when there is time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pyarrow as pa

from reweigh.archive.compaction import Compactor
from reweigh.archive.errors import ArchiveChanged, ArchiveError
from reweigh.archive.index import IdIndex
from reweigh.archive.metrics import Metrics
from reweigh.archive.records import RecordReader, Records, records_of
from reweigh.archive.schema import EVENTS, RATINGS
from reweigh.archive.settings import ArchiveSettings
from reweigh.archive.store import Store, open_store
from reweigh.archive.writer import Writer
from reweigh.metrics_page import served
from reweigh.topic_source import Source, cluster_id

log = logging.getLogger(__name__)

T = TypeVar("T")
GROUPS: Final = {EVENTS.name: "reweigh-archive", RATINGS.name: "reweigh-archive-ratings"}
UNDER_LOAD: Final = 12
"""How many times longer a file is waited for that is going to be full by then."""
MOST_BYTES: Final = 128 * 2**20
_POLL_SECONDS: Final = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_LOOK_SECONDS: Final = 1.0
_COMPACTION_SECONDS: Final = 30.0
_MERGING_SECONDS: Final = 5.0
_QUIET_MS: Final = 600_000
_MANY_FILES: Final = 60
_PRUNE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class KafkaLog:
    """The log: where Kafka is, who reads it and which topics, and how long an event id is remembered."""

    bootstrap: str
    reader: RecordReader[Any]
    access: Mapping[str, Any]
    window_seconds: int


class Ended(Exception):
    """The process was asked to end while it waited."""


def due(rows: int, size: int, age: float, settings: ArchiveSettings) -> str:
    """Say why what is buffered should be written now: ``size``, ``time``, or "" when it should not.

    After ``flush_seconds`` it is written, unless it fills so fast that the file will be full soon.
    """
    if rows >= settings.flush_rows or size >= MOST_BYTES:
        return "size"
    if age < settings.flush_seconds:
        return ""
    longest = settings.flush_seconds * UNDER_LOAD
    fills = rows / age * longest >= settings.flush_rows
    return "" if fills and age < longest else "time"


class ArchiveRun:
    """One run, until ``ending`` is set. Raises :class:`CommandError` for what waiting does not mend."""

    def __init__(self, kafka: KafkaLog, settings: ArchiveSettings, ending: threading.Event) -> None:
        self._kafka, self._settings, self._ending = kafka, settings, ending
        self.metrics = Metrics()

    def run(self) -> None:
        """Run, and open the archive anew when somebody has changed or removed it."""
        store = open_store(self._settings.url)
        with served(
            self.metrics.registry, self._settings.metrics_host, self._settings.metrics_port, "ARCHIVE_METRICS_PORT"
        ):
            while not self._ending.is_set():
                try:
                    self._open(store)
                except ArchiveChanged as exc:
                    log.warning("%s; opening it anew", exc)
                    self._ending.wait(_FIRST_PAUSE)
                except Ended:
                    return

    def _open(self, store: Store) -> None:
        self._patiently(lambda: store.names("_log"))
        with self._patiently(lambda: _entered(store)), closing(self._patiently(self._index)) as index:
            cluster = cluster_id(self._kafka.bootstrap, self._kafka.access)
            writer = self._patiently(
                lambda: Writer(
                    store,
                    index,
                    self._kafka.reader,
                    window_ms=self._kafka.window_seconds * 1000,
                    cluster=cluster,
                    clock=time.time,
                )
            )
            kafka, topics = self._kafka, self._kafka.reader.topics
            group = GROUPS[kafka.reader.data_set.name]
            with closing(Source(kafka.bootstrap, topics, kafka.access, writer.positions, group=group)) as source:
                log.info("archiving to %s from commit %d on", store.url, writer.snapshot.number)
                self.metrics.lost.inc(source.lost)
                self._follow(store, writer, source)

    def _index(self) -> IdIndex:
        return IdIndex(self._settings.state)

    def _follow(self, store: Store, writer: Writer, source: Source) -> None:
        """Read until the end is asked for."""
        began = looked = compacted = pruned = time.monotonic()
        newest: dict[tuple[str, int], int] = {}
        while not self._ending.is_set():
            records = records_of(source.poll(_POLL_SECONDS))
            now = time.monotonic()
            if not writer.has_progress:
                began = now
            if len(records):
                self._take(writer, records)
                newest.update(
                    zip(zip(records.topics, records.partitions, strict=True), records.arrived_ms, strict=True)
                )
            trigger = due(writer.buffered, writer.buffered_bytes, now - began, self._settings)
            if trigger and writer.has_progress:
                self._flush(writer, trigger)
                source.tell(writer.positions)
            if now - looked >= _LOOK_SECONDS:
                looked = now
                self.metrics.lag.set(source.lag())
            if now - compacted >= _COMPACTION_SECONDS and not writer.has_progress:
                self._compact(store)
                compacted = time.monotonic()
            if now - pruned >= _PRUNE_SECONDS:
                self._prune(writer, newest, source.lags())
                pruned = now
        if writer.has_progress:
            self._flush(writer, "shutdown", once=True)
            source.tell(writer.positions)

    def _take(self, writer: Writer, records: Records) -> None:
        totals = self._patiently(lambda: writer.take(records))
        self.metrics.processed.labels("archived").inc(totals.archived)
        self.metrics.processed.labels("duplicate").inc(totals.duplicates)
        self.metrics.processed.labels("dead").inc(sum(totals.dead.values()))
        self.metrics.buffer.set(writer.buffered)

    def _flush(self, writer: Writer, trigger: str, *, once: bool = False) -> None:
        rows, began = writer.buffered, time.perf_counter()
        if once:
            writer.flush()
        else:
            self._patiently(writer.flush)
        self.metrics.duration.observe(time.perf_counter() - began)
        self.metrics.flushed.labels(trigger).inc(rows)
        self.metrics.buffer.set(writer.buffered)

    def _compact(self, store: Store) -> None:
        """Merge for some seconds: days that nothing was written to for a while, or that have many small files."""
        until = time.time() * 1000 - _QUIET_MS
        ends = time.monotonic() + _MERGING_SECONDS
        try:
            with closing(Compactor(store, time.time).compact(at_least=_MANY_FILES, until_ms=until)) as merges:
                for merged in merges:
                    log.info("%s: %d files merged, %d rows", merged.day, merged.files, merged.rows)
                    if self._ending.is_set() or time.monotonic() >= ends:
                        break
        except (OSError, ArchiveError, pa.ArrowException) as exc:
            log.warning("compaction is put off: %s", exc)

    def _prune(
        self, writer: Writer, newest: Mapping[tuple[str, int], int], lags: Mapping[tuple[str, int], int]
    ) -> None:
        """Forget ids beyond the window, counted from the partition that is furthest behind."""
        behind = [place for place, lag in lags.items() if lag]
        if newest and all(place in newest for place in behind):
            writer_is_at = min((newest[place] for place in behind), default=max(newest.values()))
            self._patiently(lambda: writer.prune(writer_is_at))

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do it until it succeeds, with growing pauses. Raises :class:`Ended` when the end is asked for meanwhile."""
        pause, said = _FIRST_PAUSE, ""
        while True:
            try:
                return action()
            except OSError as exc:
                self.metrics.failures.inc()
                if str(exc) != said:
                    said = str(exc)
                    log.error("the archive waits, nothing is lost: %s", exc)
                if self._ending.wait(pause):
                    raise Ended from exc
                pause = min(pause * 2, _LONGEST_PAUSE)


def _entered(store: Store) -> ExitStack:
    """Enter the writer's lock now, so that what goes wrong with it can be waited out, and leave it later."""
    held = ExitStack()
    held.enter_context(store.alone("writer", wait=False))
    return held
