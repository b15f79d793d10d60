"""What a row holds, when a file is written, and what settings and stores say to wrong use."""

from __future__ import annotations

import json
import threading
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from reccore.errors import SettingError
from reccore.event_types import EventTypes
from reccore.events import Event
from reccore.ratings import Rating
from reweigh.archive import read_partition
from reweigh.archive.errors import ArchiveError
from reweigh.archive.events import EventReader
from reweigh.archive.log import Log
from reweigh.archive.run import MOST_BYTES, ArchiveRun, KafkaLog, due
from reweigh.archive.schema import RATINGS, SCHEMA, day_of, encode, folder_of, in_order
from reweigh.archive.settings import ArchiveSettings, archive_settings
from reweigh.archive.store import LocalStore, RemoteStore, Store, open_store
from reweigh.cli import main
from tests.archive.making import DAY_MS, EVENT_READER, RATING_READER, Place, event, records, writing
from tests.event_cases import CASES, RECORD_TIME_MS, Case
from tests.rating_cases import NO_VALUE, RATING_CASES, RatingCase
from tests.rating_cases import RECORD_TIME_MS as RATING_TIME_MS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rows_are_what_the_parser_says(case: Case) -> None:
    """Valid records become rows with the parser's values, with session and metadata as they were sent; others none."""
    reader = EventReader(EventTypes.from_settings({}))
    batch = records([case.raw], offset=7, arrived_ms=RECORD_TIME_MS)
    parsed = reader.parse(batch)
    if not isinstance(case.expected, Event):
        assert parsed.rejected[0].reason == case.expected
        return
    assert not parsed.rejected
    (row,) = reader.rows(batch, parsed, [0]).to_pylist()
    wanted, sent = case.expected, json.loads(case.raw or b"")
    tags = None if wanted.tags is None else list(wanted.tags)
    assert (row["user_id"], row["item_id"], row["event_id"]) == (wanted.user_id, wanted.product_id, wanted.event_id)
    assert (row["timestamp_ms"], row["process_time"]) == (wanted.time_ms, wanted.time_ms / 1000)
    assert (row["tags"], row["session_id"]) == (tags, sent.get("session_id"))
    assert (row["metadata"] and json.loads(row["metadata"])) == sent.get("metadata")
    assert (row["topic"], row["partition"], row["offset"], row["arrived_ms"]) == ("view-events", 0, 7, RECORD_TIME_MS)


@pytest.mark.parametrize("case", [*RATING_CASES, NO_VALUE], ids=lambda case: case.name)
def test_ratings_are_what_the_rule_says(case: RatingCase) -> None:
    """The table that follower and service go by: valid records become rows, the others are refused by their reason."""
    batch = records([case.raw], topic="ratings", offset=7, arrived_ms=RATING_TIME_MS)
    parsed = RATING_READER.parse(batch)
    if not isinstance(case.expected, Rating):
        assert parsed.rejected[0].reason == case.expected
        return
    assert not parsed.rejected
    (row,) = RATING_READER.rows(batch, parsed, [0]).to_pylist()
    wanted = case.expected
    assert row == {
        "user_id": wanted.user_id, "item_id": wanted.product_id, "rating": wanted.rating, "event_id": wanted.event_id,
        "process_time": wanted.time_ms / 1000, "timestamp_ms": wanted.time_ms,
        "topic": "ratings", "partition": 0, "offset": 7, "arrived_ms": RATING_TIME_MS,
    }  # fmt: skip


def test_each_data_set_has_its_place() -> None:
    """By settings of its own, with an index of its own."""
    events, ratings = archive_settings({}), archive_settings({}, RATINGS)
    assert (events.url, ratings.url) == ("data/parquet/recommendation_events/", "data/parquet/ratings/")
    assert ratings.state == events.state / "ratings"
    assert archive_settings({"ARCHIVE_URL": "x", "ARCHIVE_RATINGS_URL": "y"}, RATINGS).url == "y"
    with pytest.raises(ArchiveError, match="there are events, ratings"):
        read_partition(2020, 1, 1, data_set="clicks")


def archived(raw: bytes) -> dict[str, Any]:
    """The row that an event becomes."""
    reader = EventReader(EventTypes.from_settings({}))
    batch = records([raw])
    row: dict[str, Any]
    (row,) = reader.rows(batch, reader.parse(batch), [0]).to_pylist()
    return row


def test_metadata_is_kept_to_the_letter() -> None:
    """Numbers beyond a double, order and white space are the sender's; names may be written with escapes."""
    text = '{"b" : 1e999, "a":12345678901234567890}'
    raw = b'{"user_id":"u","product_id":"p","meta\\u0064ata":' + text.encode() + b',"session_id":null}'
    row = archived(raw)
    assert (row["metadata"], row["session_id"]) == (text, None)


def test_a_repeated_member_leaves_numbers_as_they_were() -> None:
    """What is archived of it is JSON that can be sent again, whatever size a number has."""
    text = '{"a":1e999,"b":[12345678901234567890]}'
    raw = b'{"user_id":"u","product_id":"p","session_id":1,"session_id":"s","metadata":' + text.encode() + b"}"
    row = archived(raw)
    assert (row["metadata"], row["session_id"]) == (text, "s")


def test_large_tables_are_sorted_like_small_ones() -> None:
    """Text columns of more than 2 GiB, which Arrow itself does not sort, take another way to the same rows."""
    sent = [event(None, 1_600_000_000_000 - number % 7, tags=["a", str(number)]) for number in range(2_100)]
    batch = records([*sent, event("e", 1, session_id="s", metadata={"a": [1]})])
    table = pa.Table.from_batches([EVENT_READER.rows(batch, EVENT_READER.parse(batch), range(2_101))])
    keys = ("timestamp_ms", "topic", "partition", "offset")
    wide = in_order(pa.concat_tables([table.slice(1_000), table.slice(0, 1_000)]), keys, wide_from=1)
    assert (wide.schema, wide.to_pylist()) == (SCHEMA, in_order(table, keys).to_pylist())
    assert wide["offset"][0].as_py() == 2_100


def test_a_day_that_is_too_large_is_no_end_of_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What Arrow refuses to merge stays as it is."""

    def refused(*_: object, **__: object) -> None:
        raise pa.ArrowInvalid("offset overflow")

    monkeypatch.setattr("reweigh.archive.compaction.in_order", refused)
    monkeypatch.setattr("time.time", lambda: 1_900_001_000.0)
    place, run = two_files_a_day(tmp_path, days=1)
    run._compact(place.store())
    assert "offset overflow" in caplog.text
    assert len(Log(place.store()).read().files) == 2


def two_files_a_day(folder: Path, days: int, ending: threading.Event | None = None) -> tuple[Place, ArchiveRun]:
    """An archive that was written a while ago, and the process that sees to it."""
    place = Place(folder)
    with writing(place.store(), place.state) as writer:
        for number in range(2):
            writer.take(records([event(f"{number}-{day}", day * DAY_MS) for day in range(days)], offset=number * days))
            writer.flush()
    settings = ArchiveSettings(url=str(place.folder))
    return place, ArchiveRun(KafkaLog("nowhere:1", EVENT_READER, {}, 0), settings, ending or threading.Event())


@pytest.mark.parametrize(("seconds", "is_ending", "merged"), [(60.0, False, 5), (0.0, False, 1), (60.0, True, 1)])
def test_how_much_is_merged_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seconds: float, is_ending: bool, merged: int
) -> None:
    """One day after another while there is time, so that a history of many days is merged in minutes."""
    monkeypatch.setattr("time.time", lambda: 1_900_001_000.0)
    monkeypatch.setattr("reweigh.archive.run._MERGING_SECONDS", seconds)
    ending = threading.Event()
    place, run = two_files_a_day(tmp_path, 5, ending)
    if is_ending:
        ending.set()
    run._compact(place.store())
    assert len(Log(place.store()).read().files) == 10 - merged


def test_when_a_file_is_written() -> None:
    """When it is full, or after some seconds, unless it will be full soon."""
    settings = ArchiveSettings(flush_rows=1_200, flush_seconds=5)
    assert due(1_200, 0, 0.1, settings) == "size"
    assert due(1, MOST_BYTES, 0.1, settings) == "size"
    assert due(1_199, 0, 4.9, settings) == ""
    assert due(99, 0, 5, settings) == "time"
    assert due(100, 0, 5, settings) == ""
    assert due(1_199, 0, 60, settings) == "time"


@pytest.mark.parametrize("day", [date(1970, 1, 1), date(2024, 2, 29), date(9999, 12, 31)])
def test_folders(day: date) -> None:
    """A day's folder, and back."""
    assert day_of(folder_of(day) + "/events-x.parquet") == day


def test_first_and_last_day_are_read(tmp_path: Path) -> None:
    """1970 and 9999 are years like any other."""
    place = Place(tmp_path)
    with writing(place.store(), place.state) as writer:
        writer.take(records([event("first", 0), event("last", 253_402_300_799_999)]))
        writer.flush()
    url = str(place.folder)
    assert read_partition(1970, 1, 1, url=url)["event_id"].tolist() == ["first"]
    last = read_partition(9999, 12, 31, columns=["process_time"], url=url)
    assert last.to_dict("list") == {"process_time": [253_402_300_799.999]}
    assert list(read_partition(2020, 1, 1, url=url).columns) == SCHEMA.names
    with pytest.raises(ArchiveError, match="colour"):
        read_partition(1970, 1, 1, columns=["colour"], url=url)
    with pytest.raises(ArchiveError, match="no date"):
        read_partition(2023, 2, 29, url=url)


@pytest.mark.parametrize(
    ("key", "value"),
    [("ARCHIVE_FLUSH_ROWS", "0"), ("ARCHIVE_FLUSH_SECONDS", "soon"), ("ARCHIVE_METRICS_PORT", "99999")],
)
def test_wrong_settings_are_named(key: str, value: str) -> None:
    """Key, value and what is allowed."""
    with pytest.raises(SettingError, match=f"{key}='{value}'"):
        archive_settings({key: value})


def test_an_unknown_store_is_named() -> None:
    """A URL whose package is not installed, or that nobody knows."""
    with pytest.raises(ArchiveError, match="gcsfs"):
        open_store("gs://bucket/events")
    with pytest.raises(ArchiveError, match="nonsense"):
        open_store("nonsense://x")


@pytest.fixture(params=["disk", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each kind."""
    if request.param == "disk":
        return LocalStore(tmp_path)
    begin = "memory://" if request.param == "memory" else request.getfixturevalue("s3")
    return RemoteStore(f"{begin}{tmp_path}")


def test_stores_keep_one_contract(store: Store) -> None:
    """What commits depend on holds for each kind."""
    store.create("_log/1.json", b"one")
    with pytest.raises(FileExistsError):
        store.create("_log/1.json", b"two")
    store.write("_staging/x", b"a")
    store.write("_staging/x", b"b")
    store.move("_staging/x", "year=2020/x.parquet")
    with pytest.raises(FileNotFoundError):
        store.move("_staging/x", "year=2020/x.parquet")
    assert store.read("year=2020/x.parquet") == b"b"
    assert (store.exists("_staging/x"), store.exists("year=2020/x.parquet")) == (False, True)
    assert store.names("_log") == ["1.json"]
    assert store.names("nowhere") == []
    store.remove("_log/1.json")
    store.remove("_log/1.json")
    with pytest.raises(FileNotFoundError):
        store.read("_log/1.json")
    with pytest.raises(FileNotFoundError):
        store.open("_log/1.json")


def test_a_log_that_is_none_is_refused(store: Store) -> None:
    """Foreign content under a manifest's name, and a gap."""
    store.create("_log/000000000001.json", b"[]")
    with pytest.raises(ArchiveError, match="no manifest"):
        Log(store).read()


def test_files_are_snappy_with_dictionaries() -> None:
    """Columns of few values take next to nothing."""
    rows: Any = SCHEMA.empty_table()
    assert encode(rows)[:4] == b"PAR1"


@pytest.mark.parametrize("data_set", ["events", "ratings"])
def test_an_archive_that_is_not_there_is_named(
    data_set: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what makes it, and that it takes something to be archived."""
    (settings := tmp_path / "stack.env").touch()
    given = ["--data-set", data_set, "--url", str(tmp_path), "--env", str(settings)]
    assert main(["archive", "stats", *given]) == 1
    said = capsys.readouterr().err
    assert f"there is no archive of {data_set} at {tmp_path}: `reweigh archive run --data-set {data_set}`" in said
