"""The archive's process beside a real Kafka: killed, refused by its disk, and read by others."""

from __future__ import annotations

import csv
import io
import json
import random
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import psutil
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer

from deploy.local import Stack
from faults.ledger import TOPICS
from faults.poison import LARGE_POISON, POISON
from reweigh.archive import read_partition
from reweigh.archive.log import Log
from reweigh.archive.reading import read_day
from reweigh.archive.schema import day_of
from reweigh.archive.store import open_store
from tests.archive.conftest import Archive
from tests.archive.making import rows_of, visible
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
ACTIONS = {"view": "click", "add_to_cart": "cart", "purchase": "purchase", "wishlist": "wishlist"}


class Ledger:
    """Sends records and books what must be archived: each event id once, an event without one each time."""

    def __init__(self, bootstrap: str, seed: int) -> None:
        options = {"acks": "all", "linger.ms": 5, "message.max.bytes": 1_040_000, "log_level": 0}
        self._producer = Producer({"bootstrap.servers": bootstrap, **options})
        self._random = random.Random(seed)
        self._seed, self._made = seed, 0
        self.ids: set[str] = set()
        self.rows: Counter[tuple[Any, ...]] = Counter()
        self.sent = 0

    def send(self, count: int) -> None:
        """Send so many events, a fourth of them again, with poison in between, and wait for the acknowledgements."""
        for _ in range(count):
            kind, event = self._event()
            for _ in range(self._random.choice((1, 1, 1, 2))):
                self._book(kind, event)
                self._produce(TOPICS[kind], json.dumps(event).encode())
            if self._made % 40 == 0:
                self._produce(TOPICS["view"], self._random.choice(POISON)[0])
        for value, _ in LARGE_POISON[:1]:
            self._produce(TOPICS["view"], value)
        assert self._producer.flush(60) == 0

    def close(self) -> None:
        """Leave Kafka."""
        self._producer.close()

    def _produce(self, topic: str, value: bytes | None) -> None:
        self.sent += 1
        self._producer.produce(topic, value)
        self._producer.poll(0)

    def _event(self) -> tuple[str, dict[str, Any]]:
        self._made += 1
        kind = self._random.choice(list(TOPICS))
        event: dict[str, Any] = {
            "event_id": f"{self._seed}-{self._made}",
            "user_id": f"user-{self._random.randrange(50)}",
            "product_id": f"product-{self._random.randrange(20)}",
            "timestamp": 1_600_000_000_000 + self._random.randrange(3 * 86_400_000),
        }
        if self._made % 7 == 0:
            del event["event_id"]
        if self._made % 3:
            event["tags"] = [f"tag-{self._random.randrange(9)}" for _ in range(self._random.randrange(4))]
        if self._made % 4 == 0:
            event |= {"session_id": f"session {self._made}", "metadata": {"page": "ü", "deep": [{"n": 1.5}, None]}}
        return kind, event

    def _book(self, kind: str, event: dict[str, Any]) -> None:
        identity = event.get("event_id")
        if identity in self.ids:
            return
        if identity:
            self.ids.add(identity)
        tags = event.get("tags")
        self.rows[
            event["user_id"],
            event["product_id"],
            ACTIONS[kind],
            kind,
            identity,
            event["timestamp"],
            None if tags is None else tuple(dict.fromkeys(tags)),
            event.get("session_id"),
            json.dumps(event["metadata"]) if "metadata" in event else None,
        ] += 1


def found(rows: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    """What is archived, as the ledger books it."""
    for row in rows:
        assert row["process_time"] == row["timestamp_ms"] / 1000
        assert row["hit_flink"] is True
        assert row["arrived_ms"] > 1_700_000_000_000
    return Counter(
        (
            *(row[name] for name in ("user_id", "item_id", "action", "event_type", "event_id", "timestamp_ms")),
            None if row["tags"] is None else tuple(row["tags"]),
            row["session_id"],
            row["metadata"],
        )
        for row in rows
    )


@pytest.fixture(scope="module")
def ledger(kafka: Stack) -> Iterator[Ledger]:
    """All that is ever sent to this Kafka."""
    made = Ledger(kafka.env["KAFKA_BOOTSTRAP"], 7)
    yield made
    made.close()


def test_killed_in_the_middle(archive: Archive, ledger: Ledger) -> None:
    """SIGKILL several times while records come: each visible file is whole, at the end each event is there once."""
    with ThreadPoolExecutor(max_workers=1) as pool:

        def send() -> None:
            for _ in range(80):
                ledger.send(100)

        sending = pool.submit(send)
        for _ in range(4):
            before = archive.commits
            archive.start()
            wait_until(
                lambda: sending.done() or archive.commits > before + 2,  # noqa: B023
                60,
                what="commits",
                pause=0.001,
            )
            archive.end(signal.SIGKILL)
            rows_of(visible(archive.folder))
        sending.result()
    archive.start()
    archive.read_all(ledger.sent)
    assert archive.end(signal.SIGTERM) == 0, archive.said()
    rows = rows_of(visible(archive.folder))
    assert found(rows) == ledger.rows
    places = {(row["topic"], row["partition"], row["offset"]) for row in rows}
    assert len(places) == len(rows)
    assert {file.parent for file in visible(archive.folder)} == {
        archive.folder / f"year=2020/month=09/day={day}" for day in (13, 14, 15, 16)
    }


def test_a_disk_that_refuses(archive: Archive, ledger: Ledger) -> None:
    """No file can be written for a while, as on a full disk: nothing is lost, and it goes on by itself afterwards."""
    archive.start()
    archive.read_all(ledger.sent)
    before = archive.commits
    archive.process.rlimit(psutil.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    ledger.send(1_000)
    wait_until(lambda: archive.metric("archive_write_failures_total") >= 2, 60, what=archive.said())
    assert archive.commits == before
    archive.process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    archive.read_all(ledger.sent)
    assert archive.metric("messages_processed_total") > 0
    assert archive.metric("messages_flushed_total") > 0
    assert archive.end(signal.SIGTERM) == 0
    assert found(rows_of(visible(archive.folder))) == ledger.rows


def test_a_folder_that_was_removed(archive: Archive, ledger: Ledger, tmp_path: Path) -> None:
    """What was archived is written anew from Kafka, by the process that runs."""
    archive.start()
    archive.read_all(ledger.sent)
    archive.folder.rename(tmp_path / "away")
    ledger.send(10)
    archive.read_all(ledger.sent)
    assert archive.end(signal.SIGTERM) == 0
    assert found(rows_of(visible(archive.folder))) == ledger.rows


def test_a_part_of_the_local_stack(kafka: Stack, ledger: Ledger) -> None:
    """It archives to the folder that ``stack.env`` names, and starts again when it was killed."""
    url = kafka.env["ARCHIVE_URL"]
    ledger.send(10)
    kafka.kill("archive")

    def has_all() -> bool:
        last = Log(open_store(url)).read().last
        return last is not None and last.totals.read >= ledger.sent

    wait_until(has_all, 120, what="everything archived", pause=0.1)
    assert found(rows_of(visible(Path(url)))) == ledger.rows


def test_read_by_others(archive: Archive, ledger: Ledger, reweigh: Callable[..., bytes]) -> None:
    """pandas, polars, DuckDB and the commands give the same rows, before and after a compaction."""
    archive.start()
    for _ in range(3):
        ledger.send(100)
        archive.read_all(ledger.sent)
    assert archive.end(signal.SIGTERM) == 0
    small = len(visible(archive.folder))
    for _ in range(2):
        count = ledger.rows.total()
        frame = pd.read_parquet(archive.folder)
        assert (len(frame), frame["hit_flink"].all()) == (count, True)
        assert set(zip(frame["year"], frame["month"], strict=True)) == {(2020, 9)}
        pattern = f"{archive.folder}/year=*/month=*/day=*/*.parquet"
        with duckdb.connect() as database:
            files = database.read_parquet(pattern, hive_partitioning=True)
            ((in_duckdb, days),) = files.aggregate("count(*), count(DISTINCT day)").fetchall()
        assert (in_duckdb, days) == (count, 4)
        assert pl.scan_parquet(pattern, hive_partitioning=True).select(pl.len()).collect().item() == count
        assert found(rows_of(visible(archive.folder))) == ledger.rows
        day = read_partition(2020, 9, 14, url=str(archive.folder))
        assert day["timestamp_ms"].is_monotonic_increasing
        lines = [json.loads(line) for line in reweigh("read", "--day", "2020-09-14").splitlines()]
        assert [line["offset"] for line in lines] == day["offset"].tolist()
        reweigh("compact")
    assert small > len(visible(archive.folder)) == 4
    _commands(archive, ledger, reweigh)


def _commands(archive: Archive, ledger: Ledger, reweigh: Callable[..., bytes]) -> None:
    one = pq.ParquetFile(
        io.BytesIO(reweigh("read", "--day", "2020-09-14", "--output", "parquet", "--limit", "7"))
    ).read()
    assert one.num_rows == 7
    text = reweigh("read", "--day", "2020-09-14", "--output", "csv", "--user", "user-3").decode()
    table = list(csv.DictReader(io.StringIO(text)))
    assert {row["user_id"] for row in table} == {"user-3"}
    assert reweigh("read", "--day", "1999-01-01") == b""
    stats = json.loads(reweigh("stats", "--output", "json"))
    assert (stats["rows"], stats["files"], stats["lag"]) == (ledger.rows.total(), 4, 0)
    records = stats["records"]
    assert records["read"] == ledger.sent == records["archived"] + records["duplicates"] + sum(records["dead"].values())
    file = visible(archive.folder)[0]
    day = day_of(str(file.relative_to(archive.folder)))
    assert read_day(open_store(str(archive.folder)), day).num_rows == pq.ParquetFile(file).metadata.num_rows
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "SNAPPY"
