"""Ratings beside a real Kafka: the archive's process is killed while they come; the part of the stack; the commands."""

from __future__ import annotations

import csv
import io
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from deploy.local import Stack
from reweigh.archive import read_partition
from reweigh.archive.log import Log
from reweigh.archive.store import open_store
from tests.archive.conftest import CHECKOUT, Archive
from tests.archive.making import rows_of, visible
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def archive(kafka: Stack, tmp_path: Path) -> Iterator[Archive]:
    """An archive of ratings that is not there yet."""
    made = Archive(kafka, tmp_path, "ratings")
    try:
        yield made
    finally:
        made.close()


class Ledger:
    """Sends ratings, some again and some that are none, and books what must be archived."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5, "log_level": 0})
        self._random, self._ids, self.sent = random.Random(13), set[str](), 0
        self.rows: Counter[tuple[Any, ...]] = Counter()

    def send(self, count: int) -> None:
        """Send so many and wait for the acknowledgements."""
        for number in range(count):
            rating: dict[str, Any] = {
                "userId": self._random.randrange(50),
                "movieId": f"p{self._random.randrange(20)}",
                "rating": self._random.randrange(1, 11) / 2,
                "timestamp": 1_600_000_000_000 + self._random.randrange(3 * 86_400_000),
            }
            if number % 3:
                rating["event_id"] = f"{self.sent}-{number}"
            for _ in range(1 + (number % 5 == 0)):
                self._book(rating)
                self._produce(json.dumps(rating).encode())
            if number % 40 == 0:
                self._produce(self._random.choice([b"4", b"\xff", b'{"userId": 1, "movieId": 2, "rating": 6}', None]))
        assert self._producer.flush(60) == 0

    def close(self) -> None:
        """Leave Kafka."""
        self._producer.close()

    def _produce(self, value: bytes | None) -> None:
        self.sent += 1
        self._producer.produce("ratings", value)
        self._producer.poll(0)

    def _book(self, rating: dict[str, Any]) -> None:
        event_id = rating.get("event_id")
        if event_id in self._ids:
            return
        if event_id:
            self._ids.add(event_id)
        self.rows[str(rating["userId"]), rating["movieId"], rating["rating"], event_id, rating["timestamp"]] += 1


@pytest.fixture(scope="module")
def ledger(kafka: Stack) -> Iterator[Ledger]:
    """All ratings that are ever sent to this Kafka."""
    made = Ledger(kafka.env["KAFKA_BOOTSTRAP"])
    yield made
    made.close()


def found(rows: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    """What is archived, as the ledger books it."""
    assert all(row["process_time"] == row["timestamp_ms"] / 1000 for row in rows)
    assert len({(row["topic"], row["partition"], row["offset"]) for row in rows}) == len(rows)
    names = ("user_id", "item_id", "rating", "event_id", "timestamp_ms")
    return Counter(tuple(row[name] for name in names) for row in rows)


def test_killed_in_the_middle(archive: Archive, ledger: Ledger) -> None:
    """SIGKILL several times while ratings come: every visible file is whole, at the end each is there once."""
    for _ in range(4):
        before = archive.commits
        archive.start()
        ledger.send(800)
        wait_until(lambda: archive.commits > before, 60, what="commits", pause=0.001)  # noqa: B023
        archive.end(signal.SIGKILL)
        rows_of(visible(archive.folder))
    archive.start()
    archive.read_all(ledger.sent)
    assert archive.end(signal.SIGTERM) == 0, archive.said()
    assert found(rows_of(visible(archive.folder))) == ledger.rows
    assert {file.name.partition("-")[0] for file in visible(archive.folder)} == {"ratings"}
    _commands(archive, ledger)


def _commands(archive: Archive, ledger: Ledger) -> None:
    day = read_partition(2020, 9, 14, url=str(archive.folder), data_set="ratings")
    assert day["timestamp_ms"].is_monotonic_increasing
    lines = [json.loads(line) for line in reweigh(archive, "read", "--day", "2020-09-14").splitlines()]
    assert [line["offset"] for line in lines] == day["offset"].tolist()
    text = reweigh(archive, "read", "--day", "2020-09-14", "--output", "csv", "--user", "3").decode()
    assert {row["user_id"] for row in csv.DictReader(io.StringIO(text))} == {"3"}
    reweigh(archive, "compact")
    assert found(rows_of(visible(archive.folder))) == ledger.rows
    stats = json.loads(reweigh(archive, "stats", "--output", "json"))
    assert (stats["rows"], stats["lag"]) == (ledger.rows.total(), 0)
    records = stats["records"]
    assert records["read"] == ledger.sent == records["archived"] + records["duplicates"] + sum(records["dead"].values())


def reweigh(archive: Archive, command: str, *arguments: str) -> bytes:
    """Run one command of the archive to its end and give its output."""
    whole = (
        sys.executable,
        "-m",
        "reweigh.cli",
        "archive",
        command,
        *archive.chosen,
        *arguments,
        "--env",
        str(archive.env),
    )
    return subprocess.run(whole, cwd=CHECKOUT, check=True, capture_output=True, timeout=120).stdout


def test_a_part_of_the_local_stack(kafka: Stack, ledger: Ledger) -> None:
    """It archives to the folder that ``stack.env`` names, beside that of events."""
    url = kafka.env["ARCHIVE_RATINGS_URL"]
    ledger.send(10)

    def has_all() -> bool:
        last = Log(open_store(url)).read().last
        return last is not None and last.totals.read >= ledger.sent

    wait_until(has_all, 120, what="everything archived", pause=0.1)
    assert found(rows_of(visible(Path(url)))) == ledger.rows
    assert Path(url) != Path(kafka.env["ARCHIVE_URL"])
