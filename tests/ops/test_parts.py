"""The data of the page, on stand-ins: what each part tells, and that one that is away takes no other with it."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from reccore.canary import Measured
from reccore.errors import ReweighError
from reccore.totals import Totals
from recsvc import metrics
from recsvc.ops.flink import FlinkUnavailable, read_job
from recsvc.ops.log_offsets import LONGEST_TEXT, TopicOffsets, shown_letter
from recsvc.ops.look import Looks
from recsvc.ops.parts import PARTS
from tests.recsvc.conftest import Bench, bench
from tests.waiting import wait_until

__all__ = ["bench"]  # a fixture of the service's tests

KEY = {"X-API-Key": "key"}


def letter(raw: bytes | None, reason: str = "not_json") -> bytes:
    """A message of the dead-letter topic."""
    kept = None if raw is None else base64.b64encode(raw).decode()
    place = {"topic": "view-events", "partition": 2, "offset": 7, "timestamp": 1}
    return json.dumps({"reason": reason, "detail": "it is so", **place, "raw": kept}).encode()


def data(bench: Bench) -> Any:
    """What `/ops/data` answers now; looks that are fresh are let go."""
    for name in PARTS:
        bench.services.ops._looks[name]._future = None
    return bench.http.get("/ops/data").json


def test_every_part_tells(bench: Bench) -> None:
    """Totals, lag by topic, weights with their history, requests by route without those of who watches."""
    bench.totals.append(Totals({"view-events": 7}, {"view": 4}, {"not_json": 1}, 2))
    bench.offsets.known = {"view-events": TopicOffsets(10, 5), "purchase-events": TopicOffsets(3, 3)}
    bench.put_weights(view=2, add_to_cart=3, purchase=5)
    for path in ("/recommend/u", "/profile/", "/livez", "/ops/data"):
        bench.http.get(path)
    shown = data(bench)
    assert {name for name in PARTS if shown[name]["error"]} == set()
    assert (shown["stream"]["read"], shown["stream"]["duplicates"], shown["stream"]["dead"]) == (7, 2, {"not_json": 1})
    assert shown["stream"]["written_ms"] == 1_700_000_000_500
    assert shown["lag"]["topics"]["view-events"] == {"end": 10, "waiting": 3}
    assert shown["lag"]["waiting"] == 3
    assert shown["weights"]["weights"] == {"view": 2, "add_to_cart": 3, "purchase": 5}
    newest, first = shown["history"]["changes"][0], shown["history"]["changes"][-1]
    assert (newest["version"], newest["by"], newest["weights"]["view"]) == (shown["weights"]["version"], "key 1", 2)
    assert abs(newest["made_ms"] - shown["now_ms"]) < 600_000
    assert (first["by"], first["weights"], first["made_ms"]) == ("", None, None)  # the default
    assert [each["version"] for each in shown["history"]["members"]] == [newest["version"]]
    requests = shown["requests"]
    assert "/recommend/<anytext:user_id>" in requests["routes"]
    assert not [name for name in requests["routes"] if name.startswith(("/ops", "/livez"))]
    route = requests["routes"]["/recommend/<anytext:user_id>"]
    assert len(route["buckets"]) == len(requests["edges"]) + 1
    assert route["buckets"] == sorted(route["buckets"])
    assert shown["job"] == {
        "error": None,
        "state": None,
        "why": "FLINK_REST is not set, so nobody is asked how the job does",
    }


def test_requests_refused_before_a_route_are_told(bench: Bench) -> None:
    """They are in no route's numbers, so they have one of their own."""
    before = data(bench)["requests"]["overloaded"]
    metrics.refused_requests.inc(3)
    assert data(bench)["requests"]["overloaded"] == before + 3


def test_freshness_is_what_the_canary_measured(bench: Bench) -> None:
    """With how old that is; without a canary it is not measured, and while Redis is away not known."""
    assert data(bench)["freshness"] == {
        "error": None,
        "outcome": None,
        "why": "no canary has measured it (reweigh canary)",
    }
    bench.measured.append(Measured("seen", 0.15, int(time.time() * 1000) - 90_000))
    shown = data(bench)["freshness"]
    assert (shown["error"], shown["outcome"], shown["seconds"]) == (None, "seen", 0.15)
    assert 90 <= shown["seconds_old"] < 600
    bench.measured.append(Measured("late", 30, int(time.time() * 1000) + 5_000))  # by a clock that is ahead
    assert data(bench)["freshness"] == {"error": None, "outcome": "late", "seconds": 30, "seconds_old": 0}


def test_changes_by_other_clients_are_among_the_history(bench: Bench) -> None:
    """With their document while it is in force, and as a version only afterwards; at most twenty in all."""
    bench.put_weights(view=2, add_to_cart=3, purchase=5)
    bench.zookeeper.write("/config/recommendation/weights", b'{"view": 9, "add_to_cart": 3, "purchase": 5}')
    shown = data(bench)
    newest = shown["history"]["changes"][0]
    assert (newest["by"], newest["weights"]["view"], newest["version"]) == ("", 9, shown["weights"]["version"])
    for view in range(25):
        bench.put_weights(view=view, add_to_cart=3, purchase=5)
    changes = data(bench)["history"]["changes"]
    assert [each["weights"]["view"] for each in changes] == list(range(24, 4, -1))


def test_a_part_that_is_away_takes_no_other_with_it(bench: Bench) -> None:
    """Redis, Kafka, ZooKeeper."""
    bench.totals.append(Totals())
    bench.offsets.up = False
    shown = data(bench)
    assert {name for name in PARTS if shown[name]["error"]} == {"lag"}
    assert shown["lag"]["error"] == "Kafka does not answer"
    bench.totals.append(None)
    shown = data(bench)
    assert {name for name in PARTS if shown[name]["error"]} == {"lag", "stream"}
    assert bench.http.get("/ops").status_code == 200


def test_many_viewers_cost_one_look_and_a_slow_server_holds_nobody_up() -> None:
    """Looks at once share one; one without an answer says so, and is there for who asks later."""
    gate, calls = threading.Event(), []

    def slow() -> dict[str, Any]:
        calls.append(1)
        gate.wait(60)
        return {"value": 1}

    def away() -> dict[str, Any]:
        raise ReweighError("it is away")

    def broken() -> dict[str, Any]:
        raise KeyError("x")

    looks = Looks({"slow": slow, "fine": lambda: {"value": 2}, "away": away, "broken": broken}, patience_seconds=0.05)
    try:
        for _ in range(5):
            assert looks.take("slow")["slow"] == {"error": "no answer in time"}
        for name, wanted in (
            ("fine", {"error": None, "value": 2}),
            ("away", {"error": "it is away"}),
            ("broken", {"error": "the service failed; its log says why"}),
        ):
            wait_until(lambda: looks.take("slow", name)[name] == wanted, 60)  # noqa: B023
        assert len(calls) == 1
        gate.set()
        wait_until(lambda: looks.take("slow")["slow"] == {"error": None, "value": 1}, 60)
    finally:
        gate.set()
        looks.stop()


def test_dead_letters_need_the_key(bench: Bench) -> None:
    """They hold what callers sent; without a key 401, with a wrong one 403, and nothing of them anywhere else."""
    bench.totals.append(Totals(dead={"not_json": 1}))
    bench.offsets.letters = [letter(b"first"), letter(b"<script>alert(1)</script>"), letter(None, "null_value")]
    assert bench.http.get("/ops/dead-letters").status_code == 401
    assert bench.http.get("/ops/dead-letters", headers={"X-API-Key": "x"}).status_code == 403
    found = bench.http.get("/ops/dead-letters", headers=KEY)
    assert found.headers["Cache-Control"] == "no-store"
    assert found.content_type == "application/json"
    assert [each["text"] for each in found.json["letters"]] == [None, "<script>alert(1)</script>", "first"]
    assert found.json["letters"][1]["record"] == "view-events:2:7"
    assert "script>" not in bench.http.get("/ops/data").text


def test_letters_of_any_shape_are_shown() -> None:
    """Long ones are cut, bytes that are no text too, and what is no dead letter is said to be none."""
    assert shown_letter(letter(b"\xff" * 100_000), 0, 0, 1)["text"] == "�" * LONGEST_TEXT
    assert shown_letter(letter(b"\xff" * 100_000), 0, 0, 1)["bytes"] == 100_000
    for odd in (
        None,
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"reason": 1, "detail": 2, "topic": 1, "partition": 1, "offset": 1, "raw": 5}',
    ):
        assert shown_letter(odd, 0, 0, 1)["reason"] == "unknown"


def test_the_page_lets_nothing_in_from_elsewhere(bench: Bench) -> None:
    """Its policy names this origin only; it has nothing inline, and what it names is there."""
    page = bench.http.get("/ops")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert " style=" not in page.text
    assert " on" + "click" not in page.text
    assert "://" not in page.text
    for name, kind in (("ops.js", "text/javascript"), ("ops.css", "text/css"), ("ops.svg", "image/svg+xml")):
        answer = bench.http.get(f"/ops/static/{name}")
        assert f"/ops/static/{name}" in page.text
        assert answer.content_type.startswith(kind)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "innerHTML" not in bench.http.get("/ops/static/ops.js").text
    assert bench.http.get("/ops/static/../routes.py").status_code == 404


class Flink(BaseHTTPRequestHandler):
    """Answers as the JobManager of Flink 2.3 did, cut to what is read."""

    answers: dict[str, Any] = {}  # noqa: RUF012  set by each test

    def do_GET(self) -> None:
        """Answer, or 404."""
        found = self.answers.get(self.path)
        body = json.dumps(found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def flink() -> Iterator[str]:
    """The address of a stand-in of the JobManager."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Flink)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_job_as_flink_tells_of_it(flink: str) -> None:
    """Of several of that name the one that exists; an answer other than 200 and none at all are told."""
    job = {"jid": "a", "name": "reweigh-profile", "state": "RUNNING", "start-time": 5, "end-time": -1}
    ended = {**job, "jid": "b", "state": "CANCELED", "start-time": 9, "end-time": 10}
    tasks = {"tasks": {"running": 11, "total": 12}}
    checkpoints: dict[str, Any] = {"counts": {"completed": 4, "failed": 1}, "latest": {"completed": None}}
    Flink.answers = {
        "/jobs/overview": {"jobs": [{**ended, **tasks}, {**job, **tasks}, {**job, "name": "other", **tasks}]},
        "/jobs/a/checkpoints": checkpoints,
        "/jobs/a/metrics?get=numRestarts": [{"id": "numRestarts", "value": "3"}],
    }
    assert read_job(flink) == {
        "state": "RUNNING",
        "since_ms": 5,
        "tasks": {"running": 11, "all": 12},
        "restarts": 3,
        "checkpoints": {"completed": 4, "failed": 1, "newest": None},
    }
    checkpoints["latest"]["completed"] = {"latest_ack_timestamp": 0, "end_to_end_duration": 70, "state_size": 9}
    newest = read_job(flink)["checkpoints"]["newest"]
    assert (newest["took_ms"], newest["bytes"]) == (70, 9)
    Flink.answers = {"/jobs/overview": {"jobs": []}}
    assert read_job(flink)["state"] == "NONE"
    Flink.answers = {}
    with pytest.raises(FlinkUnavailable, match="404"):
        read_job(flink)
    with pytest.raises(FlinkUnavailable, match="does not answer"):
        read_job("http://127.0.0.1:1")
