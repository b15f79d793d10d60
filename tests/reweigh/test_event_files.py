"""Files of events and products become what the contract says, and wrong lines are named."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reccore.errors import RejectedEvent
from reccore.event_types import EventTypes
from reccore.events import LARGEST_EVENT
from reweigh.errors import CommandError
from reweigh.event_files import Record, reader
from reweigh.lines import LONGEST_LINE, Row, file_format, read_rows
from reweigh.loading import LoadReport, load_events
from reweigh.products import parse_product
from reweigh.resume import Loaded, LoadState

TYPES = EventTypes.from_settings({})
EVENT = {"user_id": 7, "item_id": "p", "action": "cart", "timestamp": 1_700_000_000}


def records(file: Path, **options: Any) -> list[Record | str]:
    """Each row's record, or the reason why it was rejected."""
    fmt = file_format(file)
    to_record = reader(fmt, TYPES, **options)
    found: list[Record | str] = []
    for row in read_rows(file, fmt):
        try:
            found.append(to_record(row))
        except RejectedEvent as exc:
            found.append(f"{row.number}: {exc.reason}")
    return found


def test_json_lines_keep_their_bytes_and_get_topic_and_key(write_lines: Any) -> None:
    """An event that has an id is sent as it stands in the file."""
    line = '{"event_id": "e1",  "user_id": 7, "product_id": "p", "event_type": "click"}'
    [record] = records(write_lines("e.jsonl", [line]))
    assert record == Record("view", b"7", line.encode())


@pytest.mark.parametrize("given", [EVENT, {**EVENT, "event_id": None}])
def test_made_ids_are_the_same_on_every_load_and_distinct_within_a_file(write_lines: Any, given: object) -> None:
    """A file loaded twice counts once; equal lines of one file are two events."""
    file = write_lines("e.jsonl", [given, given])
    first, second = records(file), records(file)
    ids = [json.loads(each.value)["event_id"] for each in first if isinstance(each, Record)]
    assert first == second
    assert len(set(ids)) == 2
    assert all(1 <= len(each) <= 128 for each in ids)
    assert records(file, namespace="other") != first
    assert [each.event_type for each in first if isinstance(each, Record)] == ["add_to_cart"] * 2


def test_wrong_lines_are_named_and_the_others_go_on(write_lines: Any) -> None:
    """The line number is the file's, blank lines counted."""
    lines = [EVENT, "", "{", {**EVENT, "user_id": None}, {**EVENT, "action": "wish"}, {**EVENT, "tags": "a"}]
    found = records(write_lines("e.jsonl", lines))
    assert found[1:] == ["3: not_json", "4: invalid_user_id", "5: invalid_event_type", "6: invalid_tags"]


def test_csv_with_aliases_tags_and_quotes(tmp_path: Path) -> None:
    """A header of field names; empty cells are absent; tags are separated by a bar."""
    file = tmp_path / "e.csv"
    text = (
        "user_id,item_id,action,process_time,tags,event_id\r\n"
        'u1,"p,1",transaction,2024-01-01T00:00:00Z,a|b,x1\r\n'
        "u2,p2,view,1700000000000,,\r\n"
        "u3,,view,,,\r\n"
    )
    file.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"u4,p\xff,view,,,\r\n")
    first, second, *rejected = records(file)
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert json.loads(first.value) == {
        "user_id": "u1",
        "item_id": "p,1",
        "action": "transaction",
        "process_time": "2024-01-01T00:00:00Z",
        "tags": ["a", "b"],
        "event_id": "x1",
    }
    assert json.loads(second.value)["process_time"] == 1_700_000_000_000
    assert "tags" not in json.loads(second.value)
    assert rejected == ["4: invalid_product_id", "5: not_utf8"]


def test_retailrocket_is_recognised(tmp_path: Path) -> None:
    """Its own header and its own names of fields and events, gzipped too."""
    text = "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
    text += "1433221332118,5,transaction,9,4000\n1433221332119,5,addtocart,9,\n"
    file = tmp_path / "events.csv.gz"
    file.write_bytes(gzip.compress(text.encode()))
    assert file_format(file) == "retailrocket"
    found = records(file)
    assert [each.event_type for each in found if isinstance(each, Record)] == ["view", "purchase", "add_to_cart"]
    assert isinstance(found[0], Record)
    event = json.loads(found[0].value)
    assert (event["user_id"], event["product_id"], event["timestamp"]) == ("257597", "355908", 1433221332117)


def events_of(file: Path) -> list[dict[str, Any] | str]:
    """Each row's event, or the reason why it was rejected."""
    return [each if isinstance(each, str) else json.loads(each.value) for each in records(file)]


def test_parquet_keeps_types(tmp_path: Path) -> None:
    """Whole numbers, also where a missing one has made floats of them, times, lists, structs and JSON text."""
    when = datetime(2024, 1, 1, tzinfo=UTC)
    table = pa.table(
        {
            "user_id": pa.array([7.0, None, 9.0]),
            "product_id": ["p", "q", "r"],
            "event_type": ["view", "view", "cart"],
            "timestamp": pa.array([when, when, None], pa.timestamp("us", "UTC")),
            "tags": [["a", "b"], None, []],
            "metadata": [{"n": 1}, None, {"n": None}],
        }
    )
    file = tmp_path / "e.parquet"
    pq.write_table(table, file)
    assert file_format(file) == "parquet"
    first, second, third = events_of(file)
    assert isinstance(first, dict)
    made = first.pop("event_id")
    assert first == {
        "user_id": 7, "product_id": "p", "event_type": "view", "timestamp": 1_704_067_200_000, "tags": ["a", "b"],
        "metadata": {"n": 1},
    }  # fmt: skip
    assert second == "2: invalid_user_id"
    assert isinstance(third, dict)
    assert "timestamp" not in third
    assert events_of(file)[0] == {**first, "event_id": made}
    (tmp_path / "cut.parquet").write_bytes(file.read_bytes()[:100])
    with pytest.raises(CommandError, match="can't be read as Parquet"):
        file_format(tmp_path / "cut.parquet")


def test_ratings_without_a_header_become_events(tmp_path: Path) -> None:
    """User, item, stars, seconds, as Amazon's reviews have been published; the stars say how strong the interest is."""
    file = tmp_path / "ratings_Books.csv"
    file.write_text("A1,B1,5.0,1383350400\nA2,B1,3.0,1383350401\nA2,B2,1.0,1383350402\nA3,B2,x,1383350403\n")
    assert file_format(file) == "behaviour"
    *good, bad = events_of(file)
    assert [(each["user_id"], each["product_id"], each["event_type"]) for each in good if isinstance(each, dict)] == [
        ("A1", "B1", "purchase"), ("A2", "B1", "add_to_cart"), ("A2", "B2", "view")
    ]  # fmt: skip
    assert isinstance(good[0], dict)
    assert good[0]["timestamp"] == 1_383_350_400
    assert bad == "4: invalid_event_type"


def test_behaviour_under_other_names(tmp_path: Path, write_lines: Any) -> None:
    """Reviews as JSON lines, and a log of views, carts and purchases with categories and times of its own kind."""
    review = {"reviewerID": "A1", "asin": "B1", "overall": 4.0, "unixReviewTime": 1_383_350_400, "summary": "good"}
    lines = write_lines("reviews.jsonl", [review, "[]"])
    assert file_format(lines) == "behaviour"
    event, wrong = events_of(lines)
    assert isinstance(event, dict)
    assert event.pop("event_id")
    assert event == {"user_id": "A1", "product_id": "B1", "event_type": "purchase", "timestamp": 1_383_350_400}
    assert wrong == "2: not_an_object"
    log = tmp_path / "log.csv"
    log.write_text(
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
        "2019-10-01 00:00:00 UTC,cart,44,21,electronics.smartphone,apple,1.5,541,s1\n"
    )
    assert file_format(log) == "behaviour"
    [event] = events_of(log)
    assert isinstance(event, dict)
    assert event.pop("event_id")
    assert event == {
        "user_id": "541", "product_id": "44", "event_type": "cart", "timestamp": "2019-10-01 00:00:00",
        "tags": ["electronics", "smartphone"], "session_id": "s1",
    }  # fmt: skip
    parquet = tmp_path / "b.parquet"
    pq.write_table(pa.table({"userId": [1], "itemId": [2], "behavior": ["pv"], "time": [1_383_350_400]}), parquet)
    [event] = events_of(parquet)
    assert isinstance(event, dict)
    assert (event["user_id"], event["event_type"]) == (1, "view")


def test_an_interrupted_load_knows_how_far_it_was(tmp_path: Path) -> None:
    """Of the same file under the same options only; where nothing can be kept, it begins anew."""
    file = tmp_path / "e.csv"
    file.write_text("x")
    state = LoadState(file, {"format": "csv"})
    assert state.read() == Loaded()
    done = Loaded(7, Counter(view=5), Counter(not_json=2), 120)
    assert state.write(done)
    assert LoadState(file, {"format": "csv"}).read() == done
    assert LoadState(file, {"format": "jsonl"}).read() == Loaded()
    file.write_text("xy")
    assert LoadState(file, {"format": "csv"}).read() == Loaded()
    state.forget()
    assert [each.name for each in tmp_path.iterdir()] == ["e.csv"]
    (tmp_path / ".e.csv.loading-new").mkdir()
    assert not state.write(done)


def test_unjudged_lines_go_as_they_are(write_lines: Any) -> None:
    """Without validation the job is the judge: topic and key by what can be read."""
    found = records(write_lines("e.jsonl", [{"user_id": "u", "event_type": "purchase"}, '{"x": NaN, ']), validate=False)
    assert found == [
        Record("purchase", b"u", b'{"user_id": "u", "event_type": "purchase"}'),
        Record("view", None, b'{"x": NaN,'),
    ]


def test_a_file_of_neither_format_is_refused(tmp_path: Path) -> None:
    """The message says what to do."""
    file = tmp_path / "notes.txt"
    file.write_text("hello\n")
    with pytest.raises(CommandError, match="--format"):
        file_format(file)
    with pytest.raises(CommandError, match="can't be read"):
        file_format(tmp_path / "absent.csv")


@pytest.mark.parametrize("text", ['[{"user_id":1,"product_id":2},{"user_id":3}]', '[\n{"user_id":1}\n]', " [1, 2]"])
def test_a_json_array_is_refused(tmp_path: Path, text: str) -> None:
    """Not taken for a header of CSV, without a row."""
    file = tmp_path / "e.json"
    file.write_text(text)
    with pytest.raises(CommandError, match=r"JSON array: write one event a line"):
        file_format(file)


def test_csv_without_a_header_is_refused(tmp_path: Path) -> None:
    """Its first event would be lost as the names of columns, and all others be without user and product."""
    file = tmp_path / "e.csv"
    file.write_text("u1,p1,view\nu2,p2,view\n")
    with pytest.raises(CommandError, match="header that names users or products"):
        file_format(file)
    assert [row.fields for row in read_rows(file, "csv")] == [{"u1": "u2", "p1": "p2", "view": "view"}]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    """Of JSON lines; in a later line it is."""
    file, line = tmp_path / "e.jsonl", json.dumps({**EVENT, "event_id": "e"}).encode()
    file.write_bytes(b"\n".join(b"\xef\xbb\xbf" + line for _ in range(2)))
    first, second = records(file)
    assert first == Record("add_to_cart", b"7", line)
    assert second == "2: not_json"


def product(fields: object) -> Row:
    """One row of JSON lines."""
    return Row(1, 0, json.dumps(fields).encode(), None)


class Sent:
    """Kafka's place: what was sent, as `reweigh load` has it from the real one."""

    def __init__(self, *_: object, **__: object) -> None:
        self.records: list[tuple[str, bytes | None, bytes]] = []
        MADE.append(self)

    def send(self, topic: str, key: bytes | None, value: bytes) -> None:
        """Take one."""
        self.records.append((topic, key, value))

    def flush(self) -> None:
        """Have all."""

    close = flush


MADE: list[Sent] = []


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[LoadReport, list[bytes | None]]]:
    """`reweigh load` of a file without Kafka: the report, and the keys of what was sent."""
    monkeypatch.setattr("reweigh.loading.EventProducer", Sent)
    monkeypatch.setattr("reweigh.loading.check_topics", lambda *_, **__: None)

    def run(file: Path, **options: Any) -> tuple[LoadReport, list[bytes | None]]:
        report = load_events(file, "nowhere:1", TYPES, **options)
        return report, [key for _, key, _ in MADE.pop().records]

    return run


@pytest.mark.parametrize("validate", [True, False])
def test_a_large_line_is_rejected_and_the_others_go_on(
    load: Callable[..., Any], write_lines: Any, tmp_path: Path, validate: bool
) -> None:
    """With the line and how large it is, whatever its size; as over HTTP."""
    note = '{"user_id":"%s","product_id":"p","event_type":"view","metadata":{"a":"%s"}}'
    room = LARGEST_EVENT - len(note % ("b", "")) - len('"event_id":"12345678",')
    lines = [note % user for user in (("a", "x"), ("b", "x" * room), ("c", "x" * (LARGEST_EVENT)))]
    lines = [line.replace("{", '{"event_id":"12345678",', 1) for line in lines]
    assert len(lines[1]) == LARGEST_EVENT
    file = write_lines("e.jsonl", [*lines, note % ("d", "x" * 3 * LONGEST_LINE), note % ("e", "")])
    report, keys = load(file, validate=validate, rejected_file=tmp_path / "out.jsonl")
    assert keys == [b"a", b"b", b"e"]
    assert report.rejected == {"too_large": 2}
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [each["line"] for each in told] == [3, 4]
    assert told[0]["detail"] == f"{len(lines[2])} bytes, at most 1000000 are allowed"
    assert len(told[1]["raw"]) == LONGEST_LINE + 1


@pytest.mark.parametrize("header", ["user_id,product_id,event_type,metadata", "user,item,event,note"])
def test_a_large_cell_is_rejected_and_the_others_go_on(load: Callable[..., Any], tmp_path: Path, header: str) -> None:
    """Such as the rest of a file after a quotation mark that is never closed."""
    file = tmp_path / "e.csv"
    large, too_large, long = '"{""x"":""' + "x" * 200_000 + '""}"', "x" * (LARGEST_EVENT + 1), "x," * LONGEST_LINE
    rows = ["a,p,view,", f"b,p,view,{large}", f"c,p,view,{too_large}", "d,p,view,", f"e,p,view,,{long}", "f,p,view,"]
    file.write_text("\n".join((header, *rows, "")))
    report, keys = load(file)
    assert keys == [b"a", b"b", b"d", b"e", b"f"]
    assert report.rejected == {"not_an_object": 1}
    assert [row.number for row in read_rows(file, "csv") if row.fields is None] == [4]


def test_products_of_the_catalogue() -> None:
    """Aliases are read, repeated tags count once, what is absent is null."""
    full = {"item_id": 5, "product_name": "Lamp", "tags": ["light", "light"], "price": 9.5, "category": "home"}
    stored = json.loads(parse_product(product(full)).stored(7))
    assert stored == {"name": "Lamp", "tags": ["light"], "price": 9.5, "category": "home", "tags_since_ms": 7}
    assert json.loads(parse_product(product({"product_id": "p"})).stored(8)) == {
        "name": None,
        "tags": [],
        "price": None,
        "category": None,
        "tags_since_ms": 8,
    }
    row = Row(2, 0, b"", {"product_id": "p", "tags": "a| b", "price": "3"})
    assert (parse_product(row).tags, parse_product(row).price) == (("a", "b"), 3.0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "x"}, "invalid_product_id"),
        ({"product_id": "p", "tags": ["a" * 65]}, "invalid_tags"),
        ({"product_id": "p", "price": -1}, "invalid_price"),
        ({"product_id": "p", "price": float("nan")}, "invalid_price"),
        ({"product_id": "p", "name": ""}, "invalid_name"),
        ({"product_id": "p", "name": "\ud800"}, "not_json"),
        ([], "not_an_object"),
    ],
)
def test_wrong_products_are_refused(fields: object, reason: str) -> None:
    """Each by field, value and what is allowed."""
    with pytest.raises(RejectedEvent) as caught:
        parse_product(product(fields))
    assert str(caught.value.reason) == reason
