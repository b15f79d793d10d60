"""The proof by ``reweigh verify``, and what it finds after a rescaled job, a lost Redis and a replay.

The tests go on with the stack, the events and the ledger of ``test_surroundings``.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import redis

from deploy.local import Stack
from deploy.local.cluster_jobs import list_jobs
from deploy.local.server import get_json
from faults.archive import Archive
from faults.at_rest import answer, compare_after_recovery, put_weights, whole_answer
from faults.ledger import Ledger
from faults.traffic import Traffic
from reccore import layout
from reweigh import cli
from reweigh.kafka import end_offsets
from reweigh.topics import Topics

pytestmark = pytest.mark.timeout(1_200)


def verified(whole: Stack, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Run the command; give its exit code and what it says."""
    code = cli.main(["verify", "--env", str(whole.home.stack_env), "--output", "json"])
    return code, json.loads(capsys.readouterr().out)


def load_catalogue(whole: Stack, ledger: Ledger, folder: Path) -> None:
    """What Redis holds besides, and no event tells."""
    catalogue = folder / "catalogue.jsonl"
    products = {"spare": [], **ledger.catalogue}
    catalogue.write_text("\n".join(json.dumps({"product_id": each, "tags": tags}) for each, tags in products.items()))
    assert cli.main(["catalog", "load", str(catalogue), "--redis-url", whole.env["REDIS_URL"]]) == 0


def test_verify_agrees_with_the_ledger(
    whole: Stack, traffic: Traffic, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """It finds no difference, adds up what was sent, and finds one field that somebody changes."""
    ledger = traffic.ledger
    traffic.send(500)
    traffic.poison()
    put_weights(whole, ledger, {"view": 1, "add_to_cart": 2.5, "purchase": 5, "wishlist": -1})
    compare_after_recovery(whole, client, ledger)
    code, found = verified(whole, capsys)
    assert (code, found["differences"]) == (0, [])
    assert found["records"] == {
        "read": ledger.records,
        "applied": ledger.applied.total(),
        "duplicates": ledger.duplicates,
        "dead": ledger.dead.total(),
    }
    assert found["users"] == len(ledger.users)
    assert found["weights_version"] == ledger.version
    key = layout.counts_key("user-0")
    tag, row = next(iter(client.hgetall(key).items()))
    client.hset(key, tag, "1,0,0,4;1")
    code, found = verified(whole, capsys)
    assert code == 1
    assert {(each["what"], each["key"], each["field"]) for each in found["differences"]} == {
        ("counts", "user-0", tag), ("score", "user-0", tag)
    }  # fmt: skip
    client.hset(key, tag, row)


def test_verify_while_events_arrive(whole: Stack, traffic: Traffic, capsys: pytest.CaptureFixture[str]) -> None:
    """What moves meanwhile is no difference."""
    with traffic.flowing():
        code, found = verified(whole, capsys)
    assert (code, found["differences"]) == (0, [])
    assert found["moving"]


def test_a_job_goes_on_with_another_parallelism(
    whole: Stack, traffic: Traffic, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """``reweigh job``: two subtasks become one, by way of a savepoint; stopped, it stays so until it is resumed."""
    home = ["--home", str(whole.home.path)]
    with traffic.flowing(chunk=50):
        assert cli.main(["job", "rescale", "1", *home]) == 0
    (job,) = [each for each in list_jobs(whole.env["FLINK_REST"]) or [] if each.exists]
    details: Any = get_json(f"{whole.env['FLINK_REST']}/jobs/{job.identity}")
    assert {vertex["parallelism"] for vertex in details["vertices"]} == {1}
    compare_after_recovery(whole, client, traffic.ledger)
    assert cli.main(["job", "resume", *home]) == 1, "there are never two"
    assert cli.main(["job", "stop", *home]) == 0
    traffic.send(300)
    assert cli.main(["job", "status", *home]) == 0
    assert "stopped on purpose" in capsys.readouterr().out
    assert cli.main(["job", "resume", *home]) == 0
    compare_after_recovery(whole, client, traffic.ledger)


def test_replay_after_redis_has_lost_everything(
    whole: Stack,
    traffic: Traffic,
    client: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All is counted anew beside the job that goes on, and takes its place, with other settings if there are any.

    The service answers all the while.
    """
    monkeypatch.setenv("DEDUPLICATION_WINDOW_SECONDS", "1209600")
    ledger = traffic.ledger
    with traffic.flowing(chunk=50):
        client.flushall()
        load_catalogue(whole, ledger, tmp_path)
        assert cli.main(["replay", "--home", str(whole.home.path)]) == 0
        assert answer(whole, "/recommend/user-0")["source"] == "profile"
    monkeypatch.undo()
    assert whole.settings.handed_on["DEDUPLICATION_WINDOW_SECONDS"] == "1209600", "it is in force from now on"
    version = put_weights(whole, ledger, {"view": 1, "add_to_cart": 3, "purchase": 5, "wishlist": 2})
    capsys.readouterr()
    code, found = verified(whole, capsys)
    assert (code, found["differences"]) == (0, [])
    assert found["records"]["read"] == ledger.records
    assert found["weights_version"] == version
    # What named its tags itself is the ledger's to the last field; the rest has today's catalogue's.
    for user in ledger.users.keys() - {"browser", "wanderer"}:
        assert whole_answer(whole, f"/profile/{user}")["tags"] == ledger.scores(user)


def test_replay_that_only_checks(
    whole: Stack, traffic: Traffic, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log counted anew is what is live, also while events arrive; nothing is changed, and nothing stays behind."""
    before = [each.identity for each in list_jobs(whole.env["FLINK_REST"]) or [] if each.exists]
    key = layout.counts_key("mute")
    with traffic.flowing(chunk=20, pause_seconds=1, users=20):
        client.hset(key, "never-sent", "1,0,0,0;1")
        assert cli.main(["replay", "--check", "--home", str(whole.home.path)]) == 1
    client.delete(key)
    said = capsys.readouterr().out
    assert "1 keys differ" in said
    assert key in said
    with redis.Redis.from_url(f"{whole.env['REDIS_URL'].rpartition('/')[0]}/1") as beside:
        assert beside.dbsize() == 0
    assert [each.identity for each in list_jobs(whole.env["FLINK_REST"]) or [] if each.exists] == before


def test_replay_from_the_archive(
    whole: Stack,
    traffic: Traffic,
    client: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kafka has deleted what is archived, Redis has lost everything: both together bring it all back.

    The job goes on from there, with another parallelism too, and what was made for the rebuild holds no records.
    """
    ledger, home = traffic.ledger, ["--home", str(whole.home.path)]
    archive = Archive(whole, tmp_path, flush_seconds=5)
    archive.start()
    try:
        archive.caught_up()
    finally:
        archive.end(signal.SIGTERM)
    monkeypatch.setenv("ARCHIVE_URL", str(archive.folder))
    topics = Topics(whole.env["KAFKA_BOOTSTRAP"])
    topics.empty(whole.settings.topics)
    traffic.send(300)
    assert cli.main(["replay", *home]) == 1
    assert "the log is not complete" in capsys.readouterr().err
    with traffic.flowing(chunk=50):
        client.flushall()
        load_catalogue(whole, ledger, tmp_path)
        assert cli.main(["replay", "--from", "archive", *home]) == 0
    with traffic.flowing(chunk=50):
        assert cli.main(["job", "rescale", "2", *home]) == 0
    capsys.readouterr()
    code = cli.main(["verify", "--from", "archive", "--env", str(whole.home.stack_env), "--output", "json"])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["differences"]) == (0, [])
    assert found["users"] == len(ledger.users)
    for user in ledger.users.keys() - {"browser", "wanderer"}:
        assert whole_answer(whole, f"/profile/{user}")["tags"] == ledger.scores(user)
    left = [name for name in topics.names() if name.startswith("archived-")]
    assert len(left) == len(whole.settings.topics)
    assert sum(end_offsets(whole.env["KAFKA_BOOTSTRAP"], left).values()) == 0
