"""An archive whose Kafka is gone, sent to another one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.local import Stack
from reccore.events import parse_event
from reweigh import cli
from reweigh.archive.log import Log
from reweigh.archive.store import LocalStore
from reweigh.verify.log import EventLog, Place
from tests.archive.making import TYPES, event, records, writing

VALUES = [
    event("one", session_id='s"1', metadata={"page": "ü", "deep": [{"n": 1e300}, None]}),
    event(None, tags=["a", "é"]),
    event(None, 1, tags=[]),
    event("two", 253_402_300_799_999, user_id=7),
]
WISHED = [event("three", tags=["b"])]

Sent = tuple[Any, ...]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An archive of a Kafka that is no more."""
    store = LocalStore(tmp_path / "archive")
    with writing(store, tmp_path / "state") as writer:
        writer.take(records(VALUES))
        writer.take(records(WISHED, topic="wishlist-events"))
        writer.flush()
    return tmp_path / "archive"


@pytest.fixture
def send(kafka: Stack, tmp_path: Path, folder: Path) -> Callable[..., int]:
    """Run the command with these settings besides the address."""

    def run(**settings: str) -> int:
        env = tmp_path / "other.env"
        named = {"KAFKA_BOOTSTRAP": kafka.env["KAFKA_BOOTSTRAP"], "ARCHIVE_URL": str(folder), **settings}
        env.write_text("".join(f"{key}={value}\n" for key, value in named.items()))
        return cli.main(["archive", "send", "--env", str(env)])

    return run


def came(kafka: Stack, before: dict[Place, int]) -> list[Sent]:
    """What has come since: topic, key, and all that an event counts by."""
    log = EventLog(kafka.env["KAFKA_BOOTSTRAP"], TYPES.by_topic)
    found: list[Sent] = []
    for batch in log.read(before, log.ends()):
        for row in batch.table.to_pylist():
            topic = batch.places[row["place"]].topic
            read = parse_event(row["value"], topic_type=None, record_time_ms=None, event_types=TYPES)
            beside = json.loads(row["value"])
            found.append((topic, read.event_id, read.user_id, read.product_id, read.event_type, read.time_ms, read.tags,
                          beside.get("session_id"), beside.get("metadata")))  # fmt: skip
    return sorted(found, key=repr)


def test_events_come_as_they_were(kafka: Stack, send: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Each to the topic of its type; one without an id gets the same one each time."""
    before = EventLog(kafka.env["KAFKA_BOOTSTRAP"], TYPES.by_topic).ends()
    assert send(EXTRA_EVENT_TYPES="wishlist:wishlist-events") == 0
    assert "5 events sent: view 4, wishlist 1" in capsys.readouterr().out
    once = came(kafka, before)
    made = sorted(each[1] for each in once if each[1].startswith("archived-"))
    assert len(set(made)) == 2
    assert {each[1:] for each in map(_hashable, once) if each[1] not in made} == {
        ("one", "u", "p", "view", 1_600_000_000_000, None, 's"1', '{"page": "ü", "deep": [{"n": 1e+300}, null]}'),
        ("two", "7", "p", "view", 253_402_300_799_999, None, None, None),
        ("three", "u", "p", "wishlist", 1_600_000_000_000, ("b",), None, None),
    }
    assert {(each[5], each[6]) for each in once if each[1] in made} == {(1_600_000_000_000, ("a", "é")), (1_000, ())}
    between = EventLog(kafka.env["KAFKA_BOOTSTRAP"], TYPES.by_topic).ends()
    assert send(EXTRA_EVENT_TYPES="wishlist:wishlist-events") == 0
    assert came(kafka, between) == once


def _hashable(sent: Sent) -> Sent:
    return (*sent[:-1], None if sent[-1] is None else json.dumps(sent[-1], ensure_ascii=False))


def test_types_that_are_not_configured_are_left_out(
    send: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """They are counted, and the exit code says so."""
    assert send() == 1
    said = capsys.readouterr().out
    assert "4 events sent: view 4" in said
    assert "1 of types that are not configured were left out: wishlist 1" in said


def test_an_archive_of_this_kafka_is_refused(
    kafka: Stack, send: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """It has had these events; beyond the window they would count twice."""
    url = kafka.env["ARCHIVE_URL"]
    assert Log(LocalStore(Path(url))).read().number
    assert send(ARCHIVE_URL=url) == 1
    assert "is of this Kafka" in capsys.readouterr().err
