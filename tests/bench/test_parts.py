"""The parts of the benchmarks that need no server."""

from __future__ import annotations

import json
import math
import socketserver
import threading
from pathlib import Path
from typing import Any

import pytest

from bench import bounds_events, plain_loop, synthetic
from bench.__main__ import main
from bench.comparison import compare
from bench.load_client import ask, good_http, whole_http, whole_redis_array
from bench.registry import benchmarks
from bench.report import Report, median, quantile, significant, spread

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def test_quantiles_are_nearest_ranks() -> None:
    """Of a hundred values, 95 do not exceed p95; nothing is made up between two of them."""
    values = [float(value) for value in range(100, 0, -1)]
    assert (quantile(values, 0.5), quantile(values, 0.95), quantile(values, 0.99)) == (50, 95, 99)
    assert quantile([7.0], 0.99) == 7
    assert math.isnan(quantile([], 0.5))
    assert math.isnan(median([]))
    assert significant(84_321.7) == 84_300
    assert spread([1_000.4, 20.2]) == "20–1,000"


def test_table_and_json_hold_the_same(tmp_path: Path) -> None:
    """Numbers stand to the right, what is not known is a dash, and null in JSON."""
    report = Report(
        "title", ("", "a", "b"), (("first", 1_234.0, None), ("second", 0.5, math.nan)), ("note",), {"more": 1}
    )
    lines = report.text().splitlines()
    assert lines[3].endswith("1,234  –")
    assert lines[4].endswith("0.5  –")
    report.write(tmp_path / "x.json", quick=True, seconds=1.25)
    document = json.loads((tmp_path / "x.json").read_text())
    assert document["rows"] == [["first", 1_234.0, None], ["second", 0.5, None]]
    assert (document["more"], document["quick"]) == (1, True)
    assert document["machine"]["processors"] >= 1


def test_synthetic_events_repeat_one_in_a_hundred() -> None:
    """The same seed gives the same records, another seed other event ids, and each repeat is byte for byte the same."""
    records = list(synthetic.events(20_000, 5))
    assert records == list(synthetic.events(20_000, 5))
    assert 100 < len(records) - synthetic.distinct(records) < 300
    others = {json.loads(value)["event_id"] for _, _, value in synthetic.events(1_000, 6)}
    assert not others & {json.loads(value)["event_id"] for _, _, value in records}


def test_plain_loop_counts_each_event_once() -> None:
    """What changed is what is new; a repeat changes nothing."""
    event = {"event_id": "1", "user_id": "u", "product_id": "p", "event_type": "purchase", "tags": ["a", "b"]}
    counted = plain_loop.Counted()
    assert counted.take([json.dumps(event).encode()]) == {"u": ({"a", "b"}, {"p"})}
    assert counted.take([json.dumps(event).encode()]) == {}
    assert counted.counts == {"u": {"a": [0, 0, 1], "b": [0, 0, 1]}}


class FakeRedis:
    """Hashes in memory, with as much of a pipeline as the comparison uses."""

    def __init__(self, hashes: dict[str, dict[str, str]]) -> None:
        self._hashes = hashes
        self._asked: list[str] = []

    def scan_iter(self, pattern: str, **_: int) -> list[str]:
        """Give the keys of a prefix."""
        return [key for key in self._hashes if key.startswith(pattern.rstrip("*"))]

    def pipeline(self, **_: bool) -> FakeRedis:
        """Begin a pipeline."""
        self._asked = []
        return self

    def hgetall(self, key: str) -> None:
        """Add a command to it."""
        self._asked.append(key)

    def execute(self) -> list[dict[str, str]]:
        """Answer all of it."""
        return [dict(self._hashes.get(key, {})) for key in self._asked]


def test_comparison_sees_what_differs_and_what_is_missing() -> None:
    """The time of writing is no difference; a score, a count, a user on one side only are."""
    same = {"user:profile:a": {"x": "1"}, "{user:profile:a}:counts": {"x": "1,0,0;1700;17"}}
    plain = {"user:profile:a": {"x": "1"}, "{user:profile:a}:counts": {"x": "1,0,0"}}
    assert compare(FakeRedis(same), FakeRedis(plain)).differences == 0
    wrong: dict[str, dict[str, str]] = {**plain, "user:profile:a": {"x": "2"}, "user:profile:b": {"y": "1"}}
    assert compare(FakeRedis(same), FakeRedis(wrong)).differences == 2
    assert compare(FakeRedis(wrong), FakeRedis(same)).differences == 2


def test_recount_of_bounds_sees_what_is_missing_and_what_should_have_left() -> None:
    """The most frequent tags stay, ties by name; a row too many, one too few, a wrong count each are a difference."""
    events = [(0, "u", ("a", "b", "c")), (2, "u", ("c",)), (1, "u", ("b",)), (1, "v", ("a",))]
    right = {
        "user:profile:u": {"b": "4", "c": "6"},
        "{user:profile:u}:counts": {"b": "1,1,0;5", "c": "1,0,1;6"},
        "user:profile:v": {"a": "3"},
        "{user:profile:v}:counts": {"a": "0,1,0;7"},
    }
    wrong: dict[str, dict[str, str]] = {
        "user:profile:u": {"a": "1", "b": "4"},
        "{user:profile:u}:counts": {"a": "1,0,0;5", "b": "2,1,0;5"},
    }
    for hashes, found in ((right, 0), (wrong, 4), ({}, 3)):
        compared = bounds_events.differences(FakeRedis(hashes), events, 2, users_apart=False)
        assert compared == (3, found)
    apart = {"user:profile:once-0": {"once-0": "1"}, "{user:profile:once-0}:counts": {"once-0": "1,0,0;1"}}
    assert bounds_events.differences(FakeRedis(apart), bounds_events.many_users(2), 2, users_apart=True) == (2, 1)


def test_events_of_bounds_are_what_they_say() -> None:
    """So many events, users and tags; the same again each time, since they are counted after they were sent."""
    assert len(list(bounds_events.hot_user(50))) == 50
    assert len(bounds_events.counted(bounds_events.many_users(50))) == 50
    tags = bounds_events.counted(bounds_events.collector(5_000))[bounds_events.COLLECTOR]
    assert len(tags) == 5_000
    assert 0 < sum(sum(row) > 1 for row in tags.values()) < 1_000
    assert list(bounds_events.various("x", 20)) == list(bounds_events.various("x", 30))[:20]
    (_, user_id, value), *_ = bounds_events.records("hot", bounds_events.hot_user(2))
    assert (user_id, json.loads(value)["event_id"]) == ("hot-user", "hot-0")


def test_load_client_knows_a_whole_answer() -> None:
    """An answer that arrives in pieces is whole with its last byte, no earlier."""
    http = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
    array = b"*2\r\n$3\r\na\r\n\r\n$0\r\n\r\n"
    for answer, is_whole in ((http, whole_http), (array, whole_redis_array)):
        assert [is_whole(answer[:size]) for size in range(len(answer))] == [False] * len(answer)
        assert is_whole(answer)
    assert good_http(http)
    assert not good_http(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")


class _Hello(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline():
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")


def test_load_client_counts_answers() -> None:
    """Every connection is used, and failures are counted apart."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Hello) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        asked: list[int] = []

        def requests() -> Any:
            while True:
                asked.append(1)
                yield b"ask\n"

        try:
            load = ask(
                ("127.0.0.1", server.server_address[1]), requests(), whole_http, good_http, connections=3, seconds=0.2
            )
        finally:
            server.shutdown()
            thread.join()
    assert load.failed == 0
    assert load.answers_a_second > 0
    assert 0 < load.p50_ms <= load.p95_ms
    assert len(asked) >= 3


def test_every_benchmark_is_documented() -> None:
    """The page has a row and a paragraph for each name."""
    page = PAGE.read_text()
    for name in benchmarks(Path()):
        assert f"| `{name}` |" in page
        assert f"**{name}.**" in page


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is started for a name that is none; the ones that exist are named."""
    assert main(["strem"]) == 2
    assert "stream" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--rounds", "0"])
