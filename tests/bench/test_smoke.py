"""Each benchmark runs to its end at a tiny size and reports what it promises. No time is asserted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import bounds, ingest, latency, lists, memory, recent, recommend, stream, textbook, train, weights
from bench.load_client import Load
from bench.workbench import Workbench

Bench = Callable[..., Workbench]

pytestmark = pytest.mark.timeout(600)


def test_memory_without_and_with_a_stream_run(bench: Bench, tmp_path: Path) -> None:
    """Bytes a user come from Redis, processes from the stream's file where there is one."""
    report = memory.measure(bench(users=200), tmp_path / "stream.json")
    assert len(report.data["bytes_a_user"]) == 5
    assert min(report.data["bytes_a_user"].values()) > 0
    assert "run the benchmark `stream` first" in report.text()
    (tmp_path / "stream.json").write_text(json.dumps({"job": [{"resident_bytes": {"redis": 3 * 1024 * 1024}}]}))
    assert "after the stream run: redis" in memory.measure(bench(users=200), tmp_path / "stream.json").text()


def test_recommend_with_any_client(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is asked by wrk where there is one, else by the client of this package; both get good answers."""
    found = []
    for path in (None, ""):
        if path is not None:
            monkeypatch.setenv("PATH", path)
        report = recommend.measure(bench(users=50, products=100, many_products=300, seconds=1))
        loads = report.data["recommend"]
        assert list(loads) == ["tags", "a model of 100 products", "a model of 300 products"]
        found += [Load(**load) for (load,) in loads.values()]
        assert report.data["hgetall"][0]["answers_a_second"] > 0
    assert all(load.answers_a_second > 0 and load.failed == 0 for load in found)
    assert {load.client for load in found[3:]} == {"bench"}


def test_weights_reach_every_worker_and_all_stored_scores(bench: Bench) -> None:
    """Each change is seen by both workers, and after the sweep no score of an older version is left."""
    report = weights.measure(bench(users=200, few_users=50, changes=3))
    for changes in report.data["changes"]:
        assert len(changes["to_every_worker"]) == 3
        assert changes["scores_compared"] == changes["users"] * weights.TAGS
        assert changes["scores_wrong"] == 0


def test_training_publishes_what_answers(bench: Bench) -> None:
    """The archive is trained on by the command, and the published model is asked."""
    report = train.measure(bench(events=20_000, users=300, products=200))
    assert report.data["trained"]["events"] == 20_000
    assert report.data["trained"]["version"] >= 1
    assert all(each["p50"] > 0 for each in report.data["answers_microseconds"].values())


def test_lists_are_published_and_kept(bench: Bench) -> None:
    """Both commands run, and everybody's list arrives."""
    report = lists.measure(bench(users=100, products=60))
    assert all(each["published"] > 0 < each["followed"] for (each,) in report.data.values())


def test_stream_writes_what_the_plain_loop_writes(bench: Bench) -> None:
    """The whole of Redis is the same for both."""
    report = stream.measure(bench(records=3_000))
    assert report.data["comparison"]["differences"] == 0
    assert report.data["comparison"]["scores"] > 0
    assert {"kafka", "redis", "taskmanager", "python workers"} <= stream.resident_of(report.data).keys()


def test_recent_events_on_and_off(bench: Bench) -> None:
    """The job runs either way."""
    report = recent.measure(bench(records=2_000))
    assert len(report.data["ratios"]) == 1


def test_textbook_job_writes_the_same_too(bench: Bench) -> None:
    """Both jobs end with what the plain loop makes of the topics."""
    report = textbook.measure(bench(records=500))
    assert report.data["comparisons"]["profile"]["differences"] == 0
    assert report.data["comparisons"]["textbook"]["differences"] == 0


def test_latency_at_rest_and_under_load(bench: Bench) -> None:
    """Every probe is seen in Redis and in an answer."""
    report = latency.measure(bench(probes=3, warm_up_records=500, rate=100, settle_seconds=1))
    assert len(report.data["at_rest"]["to_answer"]) == 3
    assert len(report.data["under_load"]["to_redis"]) == 3
    assert report.data["load"]["records"] > 0


def test_bounds_hold_and_nothing_is_lost(bench: Bench) -> None:
    """Each case is digested, and what Redis holds of its users is the recount's.

    The last test of the stack, since the plain loop of the others keeps all tags of a user.
    """
    sizes = {"warm_up_records": 500, "hot_events": 1_000, "users": 1_500, "tags": 2_500, "away_seconds": 8, "rate": 100}
    report = bounds.measure(bench(**sizes))
    hot, users, tags, away = report.data["cases"]
    for each in (hot, users, tags, away):
        assert each["rows_wrong"] == 0
        assert each["after"]["checkpoint"] > 0
    assert users["rows_compared"] == 1_500
    assert (tags["rows_compared"], hot["tags_dropped"]) == (1_000, 0)
    assert tags["tags_dropped"] >= 1_500
    assert away["records"] > 800


def test_events_over_http_reach_kafka(bench: Bench) -> None:
    """Single ones and batches are answered; both clients publish the same by themselves."""
    report = ingest.measure(bench(seconds=3))
    for name in ("single", "batch", "livez"):
        assert all(load["answers_a_second"] > 0 for load in report.data[name])
    assert "so that they were refused" in report.text()
    assert all(rate > 0 for rates in report.data["alone"].values() for rate in rates)
