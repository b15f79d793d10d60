"""Redis users as `docs/security.md` writes them, on a real server: each can do its work, and nothing else."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
import redis

from flink_jobs.connected_store import connected_store
from flink_jobs.errors import RedisUnavailableError
from flink_jobs.recent_events import Written, transactions
from flink_jobs.redis_store import WeightsStamp
from flink_jobs.user_rows import UserRows
from reccore import layout
from reccore.event_types import EventTypes
from reccore.interests import InterestProfile
from reccore.ratings import MOST_RATINGS, Rating
from reccore.weights import default_weights
from recsvc.errors import StoreUnavailable
from recsvc.models.feed import ModelFeed
from recsvc.models.store import ModelStore
from recsvc.statistics_feed import StatisticsFeed
from recsvc.stored_figures import StoredFiguresReader
from recsvc.sweep import ScoreSweep
from recsvc.totals_reader import TotalsReader
from recsvc.user_store import RedisUserStore
from recsvc.weights_record import read_weights_record
from reweigh.at_rest import read_totals
from reweigh.canary.outcome import StoredOutcome
from reweigh.cli import main
from reweigh.doctor import check_redis
from reweigh.features import Features
from reweigh.follow.catalogue import Catalogue
from reweigh.follow.interests import InterestTable
from reweigh.follow.ratings import RatingTable
from reweigh.follow.table import Batch, Judged
from reweigh.follow.writing import writing_of
from reweigh.mongodb import MongoCatalogue, Turn
from reweigh.publishing.everybody import Everybody
from reweigh.publishing.lists import Basis, ListMaker
from reweigh.verify.stored import Stored
from tests.servers import fresh_stack
from tests.waiting import wait_until
from zkconfig.documents import Ranking
from zkconfig.watcher import WeightsInForce

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"
PASSWORD = "right-7f3a"
WEIGHTS = default_weights(EventTypes.from_settings({}))
STAMP = WeightsStamp(7, WEIGHTS.as_json().decode())
ODD = "an{odd}user"
JOB, SERVICE, SWEEPER = "reweigh-job", "reweigh-service", "reweigh-sweeper"
COMMANDS, FOLLOW, VERIFY = "reweigh-commands", "reweigh-follow", "reweigh-verify"
TRAIN, PUBLISH, CANARY = "reweigh-train", "reweigh-publish", "reweigh-canary"


def acl_lines() -> list[str]:
    """The lines of the document."""
    lines = re.findall(r"^ACL SETUSER .*$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 10
    return lines


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server with these users, and nobody else; what it holds was written by the job's user."""
    with fresh_stack("redis") as stack:
        address = stack.addresses.redis_url.removeprefix("redis://")
        with redis.Redis.from_url(f"redis://{address}") as admin:
            for line in acl_lines():
                admin.execute_command(*line.replace("PASSWORD", PASSWORD).split())
        write_as_the_job(url(address, JOB))
        yield address


def url(address: str, user: str, password: str = PASSWORD) -> str:
    """The address as a user."""
    return f"redis://{user}:{password}@{address}"


def write_as_the_job(url: str) -> None:
    """Everything that the job does with Redis."""
    store = connected_store(url, patience_seconds=5)
    store.open("WriteProfiles", 1, 0)
    items = ["p1", "2,1,0;1700000000000;;;7:1"]
    shoes = (["shoes", "2,1,0;1700000000000"], ["shoes", "5"])
    rows = [UserRows(user, *shoes, ["p1", "p2"], items) for user in ("ann", ODD)]
    assert store.commit_profiles(rows, STAMP) is None
    assert store.commit_profiles(rows, WeightsStamp(6, STAMP.document)) == STAMP
    assert store.read_weights_in_force()["version"] == "7"
    for user in ("ann", ODD):
        store.commit(next(transactions({user: Written(["5", "0:0:0:p1"], ["1", "arrival"], is_crowded=True)}, 200)))
    store.commit_statistics(layout.PRODUCT_STATISTICS, layout.PRODUCTS_CHANGED, {"p1": '[[1,0,0],5,["shoes"]]'})
    store.commit_statistics(layout.TAG_STATISTICS, layout.TAGS_CHANGED, {"shoes": "[[1,0,0],5]"})
    store.commit_statistics(layout.TOTALS, "", {"read:view-events": "1", "applied:view": "1"})
    assert store.read_catalogue(["p1", "p2"]) == ("", [None, None])
    again = connected_store(url, patience_seconds=5)
    again.open("WriteProfiles", 2, 1)  # takes the place of all writers of the other number
    again.close()
    store.close()


def test_the_service_reads(address: str) -> None:
    """Users, statistics, totals, the record of the weights, whether Redis answers; also after changes of the stream."""
    of_service = url(address, SERVICE)
    store = RedisUserStore(of_service, timeout_ms=1_000)
    feed = StatisticsFeed(of_service, width=3)
    totals = TotalsReader(of_service, timeout_ms=1_000)
    store.start()
    feed.start()
    try:
        assert store.ping()
        for user in ("ann", ODD):
            assert store.user(user).purchased == {"p1", "p2"}
            assert store.user(user, arrivals=True).arrivals == ("arrival",)
            assert store.items(user) == {"p1": "2,1,0;1700000000000;;;7:1"}
            assert store.recent(user, 0, 9) == [("0:0:0:p1", 5)]
            assert store.counts([user]) == [{"shoes": "2,1,0;1700000000000"}]
            assert store.histories([user], 6, 9) == [[("0:0:0:p1", 5)]]
            assert store.user(user, ratings=True).ratings == store.ratings(user) == {}
            assert store.interests(user) == ({}, {})
        assert set(store.some_users(200)) == {"ann", ODD}
        assert store.details(["p1"]) == [None]
        assert (found := totals.read()) is not None
        assert found.records_in == 1
        assert read_weights_record(of_service, timeout_ms=1_000)["version"] == "7"
        wait_until(lambda: feed.loaded)
        job = connected_store(url(address, JOB), patience_seconds=5)
        job.open("WriteStatistics", 1, 0)
        job.commit_statistics(layout.TAG_STATISTICS, layout.TAGS_CHANGED, {"hats": "[[3,0,0],5]"})
        job.close()
        wait_until(lambda: "hats" in feed._collected.tags)
    finally:
        feed.stop()
        totals.stop()
        store.stop()


def test_the_sweeper_rewrites(address: str) -> None:
    """A pass over all users, with expiry; the scores follow, and the pass is remembered."""
    client: Any = redis.Redis.from_url(url(address, SWEEPER), decode_responses=True)
    sweep = ScoreSweep(client, sleep=lambda _: None)
    assert sweep.raise_version(8, WEIGHTS) == 8
    done = sweep.run(8, WEIGHTS, tag_expiry_seconds=1_000)
    assert (done.users, done.complete) == (2, True)
    later = ScoreSweep(client, now=lambda: time.time() + 5_000, sleep=lambda _: None)
    assert later.run(8, WEIGHTS, tag_expiry_seconds=1_000).changed == 4  # tags and products
    sweep.mark_swept(8)
    assert sweep.record().swept == 8
    sweep.close()
    later.close()
    client.close()
    write_again = connected_store(url(address, JOB), patience_seconds=5)
    write_again.open("WriteProfiles", 1, 0)
    row = UserRows("ann", ["shoes", "2,1,0;1700000000000"], ["shoes", "5"], ["p1"], ["p1", "2,1,0;1700000000000"])
    assert write_again.commit_profiles([row], WeightsStamp(8, STAMP.document)) is None
    write_again.close()


class Documents(list[dict[str, object]]):
    """A collection."""

    find = list.__iter__


def test_the_commands_load_the_catalogue(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`catalog` and `doctor` work, and the totals can be waited for."""
    products = tmp_path / "products.jsonl"
    products.write_text('{"product_id": "p1", "tags": ["shoes"]}\n')
    secret = tmp_path / "stack.env"
    (tmp_path / "url").write_text(url(address, COMMANDS) + "\n")
    secret.write_text(f"REDIS_URL_FILE={tmp_path}/url\n")
    assert main(["catalog", "load", str(products), "--env", str(secret)]) == 0
    with redis.Redis.from_url(url(address, COMMANDS)) as client:
        collection = MongoCatalogue(Documents([{"_id": "sofa"}, {"_id": "bed"}]), client, remove_missing=False)
        assert collection.turn() == Turn(2, 0, 0)
    assert main(["catalog", "remove", "sofa", "bed", "--env", str(secret)]) == 0
    assert "read, deleted" in check_redis(url(address, COMMANDS))
    with redis.Redis.from_url(url(address, COMMANDS)) as client:
        assert read_totals(client).applied == {"view": 1}
    assert PASSWORD not in "".join(capsys.readouterr())


def test_the_follower_keeps_its_tables(address: str) -> None:
    """What it writes for products that come and go, ratings that replace others, and interests, with its offsets."""
    with redis.Redis.from_url(url(address, FOLLOW), decode_responses=True) as client:
        table, writing, place = Catalogue("product-catalog"), writing_of(client), ("product-catalog", 0)
        lamp, rug = (table.judge(None, json.dumps({"product_id": each}).encode(), 0) for each in ("lamp", "rug"))
        judged = [Judged(place, number, each) for number, each in enumerate((lamp, rug, "lamp", "rug"))]
        assert writing.write(Batch({place: 2}, [(table, judged[:2])]), {})
        assert not writing.write(Batch({place: 3}, []), {}), "somebody else has written"
        assert writing.write(Batch({place: 4}, [(table, judged[2:])]), writing.positions())
        ratings = [Rating(None, ODD, f"p{number}", 4.0, number) for number in range(MOST_RATINGS + 2)]
        profile = InterestProfile(ODD, 5, 1, {"shoes": 1.0}, 7)
        rated = RatingTable("ratings"), [Judged(place, number, each) for number, each in enumerate(ratings)]
        interested = InterestTable("user_behavior"), [Judged(place, 0, profile)]
        for upto in (5, 6):  # the second time there is something to be read, and nothing to be written
            assert writing.write(Batch({place: upto}, [rated, interested]), writing.positions())
        assert client.hlen(layout.ratings_key(ODD)) == MOST_RATINGS
        assert client.hgetall(layout.interests_key(ODD)) == {"shoes": "1"}


def test_training_publishes_what_the_service_reads(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the weights in force and the catalogue; older models are removed."""
    rows = [
        {"user_id": f"u{n % 7}", "product_id": f"p{n % 5}", "event_type": "view", "timestamp": n} for n in range(70)
    ]
    events, env = tmp_path / "events.jsonl", tmp_path / "train.env"
    events.write_text("".join(json.dumps(each) + "\n" for each in rows))
    env.write_text(f"REDIS_URL={url(address, TRAIN)}\n")
    for _ in range(3):
        assert main(["train", "--data", str(events), "--env", str(env), "--factors", "2"]) == 0
    assert PASSWORD not in "".join(capsys.readouterr())
    with closing(Stored(url(address, TRAIN))) as stored:  # of which training reads the catalogue
        assert "p1" in stored.catalogue()
    feed = ModelFeed(ModelStore(url(address, SERVICE)))
    feed.refresh()
    feed.stop()
    assert feed.scorer is not None
    assert feed.scorer.model.version == 3


def test_publishing_reads_users_and_keeps_its_place(address: str) -> None:
    """Histories, statistics and the model; and how far it is."""
    types = EventTypes.from_settings({})
    in_force = WeightsInForce(default_weights(types), 8, known=True)
    maker = ListMaker(Basis(url(address, PUBLISH), types, in_force, Ranking(), 0, 5))
    [(key, value)] = maker.messages(["ann"])
    assert (key, json.loads(value)["user_id"]) == (b"ann", "ann")
    with redis.Redis.from_url(url(address, PUBLISH), decode_responses=True) as client:
        users = Everybody(client, restart=False)
        ((position, batch),) = users.batches()
        assert "ann" in batch
        users.note(position, 7)
        assert Everybody(client, restart=False).published == 7
        users.finish()


def test_verify_reads_everything(address: str) -> None:
    """Each key that the others have written."""
    stored = Stored(url(address, VERIFY))
    database = duckdb.connect()
    try:
        assert stored.weights_in_force() == (8, 8)
        assert {each: tags.tags for each, tags in stored.catalogue().items()} == {
            "p1": ["shoes"],
            "lamp": [],
            "rug": [],
            "sofa": [],
            "bed": [],
        }
        stored.read_into(database, lambda _done, _total: None)
        assert database.sql("SELECT count(*) FROM stored_counts").fetchall() == [(1,)]
        assert database.sql("SELECT count(*) FROM stored_items").fetchall() == [(1,)]
        assert database.sql("SELECT * FROM stored_others").fetchall() == []
    finally:
        stored.close()
        database.close()
    with closing(Features(url(address, VERIFY), EventTypes.from_settings({}))) as features:
        assert features.table()["product_id"].to_pylist() == ["p1"]


def test_the_canary_leaves_what_it_measured(address: str) -> None:
    """And the service reads it."""
    with closing(StoredOutcome(url(address, CANARY))) as outcome:
        outcome.note("seen", 0.2)
    reader = StoredFiguresReader(url(address, SERVICE), timeout_ms=5_000)
    found = reader.measured()
    reader.stop()
    assert found is not None
    assert (found.outcome, found.seconds) == ("seen", 0.2)


NOT_THEIRS = [
    (JOB, "HSET catalog:products p x"),
    (JOB, "DEL user:profile:ann"),
    (JOB, "SET other x"),
    (JOB, "SCAN 0"),
    (SERVICE, "HSET user:profile:ann shoes 1"),
    (SERVICE, "HSET {user:profile:ann}:counts shoes 1"),
    (SERVICE, "HGETALL user:profile:ann"),
    (SERVICE, "SADD {user:profile:ann}:purchased p"),
    (SERVICE, "HSET {user:profile:ann}:ratings p 5"),
    (SERVICE, "HSET user_profile:ann shoes 1"),
    (JOB, "HGETALL {user:profile:ann}:ratings"),
    (VERIFY, "HGETALL user_profile:ann"),
    (SERVICE, "HSET weights:in_force version 1"),
    (SERVICE, "XADD {stats}:changes * a b"),
    (SERVICE, "EVAL return 0"),
    (SWEEPER, "HSET {stats}:totals x 1"),
    (SWEEPER, "SADD {user:profile:ann}:purchased p"),
    (SWEEPER, "HSET writer:fence x 1"),
    (SWEEPER, "GET catalog:version"),
    (COMMANDS, "HGETALL {user:profile:ann}:counts"),
    (COMMANDS, "HSET {stats}:totals x 1"),
    (COMMANDS, "DEL user:profile:ann"),
    (SERVICE, "HSET model:current version 1"),
    (TRAIN, "HGETALL user:profile:ann"),
    (TRAIN, "HSET weights:in_force version 1"),
    (TRAIN, "HSET catalog:products p x"),
    (PUBLISH, "HSET {user:profile:ann}:items p x"),
    (PUBLISH, "HSET model:current version 1"),
    (FOLLOW, "HGETALL user:profile:ann"),
    (FOLLOW, "HSET weights:in_force version 1"),
    (VERIFY, "HSET user:profile:ann shoes 1"),
    (VERIFY, "HGETALL other"),
    (SERVICE, "HSET canary:outcome outcome seen"),
    (CANARY, "HGETALL {user:profile:ann}:counts"),
    (CANARY, "HSET verify:outcome differences 0"),
    (CANARY, "DEL canary:outcome"),
]
EVERYBODY_NOT = [
    "FLUSHALL",
    "CONFIG GET *",
    "ACL LIST",
    "KEYS *",
    "SHUTDOWN",
    "MONITOR",
    "CLIENT LIST",
]


@pytest.mark.parametrize(("user", "command"), NOT_THEIRS)
def test_what_a_user_does_not_need_is_refused(address: str, user: str, command: str) -> None:
    """Whoever takes over one process can't do what the others do."""
    with redis.Redis.from_url(url(address, user)) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


@pytest.mark.parametrize("user", [JOB, SERVICE, SWEEPER, COMMANDS, FOLLOW, TRAIN, PUBLISH, VERIFY, CANARY])
def test_none_of_them_governs_the_server(address: str, user: str) -> None:
    """No user may empty it, look at its settings or users, or stop it."""
    with redis.Redis.from_url(url(address, user)) as client:
        for command in EVERYBODY_NOT:
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


@pytest.mark.parametrize(
    "credentials", ["", "nobody:x@", f"{JOB}:wrong-7f3a@", f"{SERVICE}:wrong-7f3a@", ":wrong-7f3a@"]
)
def test_wrong_credentials_are_refused(address: str, credentials: str, caplog: pytest.LogCaptureFixture) -> None:
    """By each edge in its way: unavailable, nothing read or written, no password told."""
    caplog.set_level("DEBUG")
    wrong = f"redis://{credentials}{address}"
    users = RedisUserStore(wrong, timeout_ms=1_000)
    with pytest.raises(StoreUnavailable) as read:
        users.user("ann")
    assert not users.ping()
    writer = connected_store(wrong, patience_seconds=0.2)
    with pytest.raises(RedisUnavailableError) as written:
        writer.open("WriteProfiles", 1, 0)
    writer.close()
    assert TotalsReader(wrong, timeout_ms=1_000).read() is None
    assert read_weights_record(wrong, timeout_ms=1_000) == {}
    sweep = ScoreSweep(redis.Redis.from_url(wrong))
    with pytest.raises(StoreUnavailable) as swept:
        sweep.record()
    for told in (read, written, swept):
        assert "wrong-7f3a" not in str(told.value)
    assert "wrong-7f3a" not in caplog.text
