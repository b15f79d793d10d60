"""What was rebuilt takes the place of what is live, on a real cluster: whole, gone on with, and under load."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
import redis

from flink_jobs.connected_store import connected_store
from flink_jobs.errors import FencedOffError
from flink_jobs.redis_store import RedisStore, WeightsStamp
from flink_jobs.user_rows import UserRows
from reccore import encoding, layout
from reccore.event_types import EventTypes
from reccore.namespaces import Namespace, is_beside
from reccore.slots import SLOTS, slot
from reccore.weights import default_weights
from recsvc.statistics_feed import StatisticsFeed
from recsvc.sweep import ScoreSweep
from recsvc.user_store import RedisUserStore
from redisaccess.scanning import pages_of_keys
from reweigh.cluster_exchange import ClusterExchange
from reweigh.errors import CommandError
from reweigh.namespaces import Namespaces
from reweigh.verify.stored import Stored
from tests.redis_modes import Ground, cluster
from tests.redisaccess.test_moving_slots import move
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
WEIGHTS = default_weights(EventTypes.from_settings({}))
DOCUMENT = WEIGHTS.as_json().decode()
OLD, NEW = WeightsStamp(1, DOCUMENT), WeightsStamp(2, DOCUMENT)
USERS = [f"u{number}" for number in range(200)] + ["a{b}c", "a}b", "{stats}"]
GONE, ADDED = "only-before", "only-afterwards"
SAVEPOINT = Path("/savepoints/savepoint-1")
PACKETS_OF_ALL, PACKETS_OF_SLOTS = 8, 343


class KilledError(BaseException):
    """Stands for an end at once."""


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """A cluster."""
    with cluster() as started:
        yield started


@pytest.fixture
def client(ground: Ground) -> Iterator[Any]:
    """A client of it, when it is empty."""
    ground.empty()
    with ground.client() as found:
        yield found


@pytest.fixture
def sides(ground: Ground, client: Any) -> Iterator[Namespaces]:
    """What is live, and a rebuild beside it that is all written."""
    with both_written(ground, client) as found:
        yield found


@contextmanager
def both_written(ground: Ground, client: Any) -> Iterator[Namespaces]:
    """Write both."""
    with closing(store_of(ground)) as live:
        live.commit_profiles(rows([*USERS, GONE], 1), OLD)
        write_statistics(live, 1)
    keep_something(client)
    with closing(Namespaces(ground.url)) as found:
        found.prepare()
        with closing(store_of(ground, name_of(found))) as rebuilt:
            rebuilt.commit_profiles(rows([*USERS, ADDED], 2), NEW)
            write_statistics(rebuilt, 2)
        yield found


def name_of(sides: Namespaces) -> str:
    """The name that the rebuild has."""
    return sides.job_options[1]


def store_of(ground: Ground, namespace: str = "") -> RedisStore:
    """A store of the job that has taken its place."""
    store = connected_store(ground.url, patience_seconds=30, namespace=Namespace(namespace))
    store.open("WriteProfiles", 1, 0)
    return store


def rows(users: Sequence[str], count: int) -> list[UserRows]:
    """What the job writes for users who have so many of everything."""
    counts = encoding.encode_counts((count, 0, 0), 1)
    return [
        UserRows(user, ["tag", counts], ["tag", str(count)], [f"p{count}"], [f"p{count}", counts]) for user in users
    ]


def write_statistics(store: RedisStore, count: int) -> None:
    """What it writes for everybody."""
    store.commit_statistics(layout.TAG_STATISTICS, layout.TAGS_CHANGED, {"tag": f"[[{count},0,0],1]"})
    store.commit_statistics(layout.PRODUCT_STATISTICS, layout.PRODUCTS_CHANGED, {"p": f'[[{count},0,0],1,["tag"]]'})
    store.commit_statistics(layout.TOTALS, "", {"read:view-events": str(count)})
    recent, arrivals = layout.recent_key("u1"), layout.arrivals_key("u1")
    store.commit([("ZADD", recent, "1", f"e{count}"), ("HSET", arrivals, f"{count}", ""), ("EXPIRE", arrivals, "9000")])


def keep_something(client: Any) -> None:
    """What does not follow from the events."""
    client.hset(layout.ratings_key("u1"), "p", "4;1")
    client.hset(layout.interests_key(GONE), "tag", "1")
    client.hset(layout.about_interests_key(GONE), "items", "1")
    client.set(layout.recommendations_key("u1"), "{}")
    client.hset(layout.CATALOG, "p", '{"tags": ["tag"]}')
    client.set(layout.CATALOG_VERSION, 7)
    client.hset(layout.FOLLOWED, "ratings:0", 3)
    client.hset(layout.MODEL_CURRENT, "version", 1)
    client.set("somebody:else", 1)
    client.hset(layout.PUBLISHING, "cursor", 1)
    client.hset(layout.WEIGHTS_IN_FORCE, mapping={"version": 1, "document": DOCUMENT, "swept": 1})


def keys_of(client: Any) -> set[str]:
    """All keys but those that bind writes."""
    return {key for page in pages_of_keys(client, count=1_000) for key in page if not key.endswith(":writes")}


def counts_of(client: Any, user: str) -> int:
    """How many of everything a user has; fails when that is not the same everywhere."""
    score, row = client.hget(layout.profile_key(user), "tag"), client.hget(layout.counts_key(user), "tag")
    found = int(score or 0)
    assert row == (f"{found},0,0;1" if found else None)
    assert client.smembers(layout.purchased_key(user)) == ({f"p{found}"} if found else set())
    assert client.hkeys(layout.items_key(user)) == ([f"p{found}"] if found else [])
    return found


def check_new(client: Any) -> None:
    """All is of the rebuild, and what is kept is there."""
    assert {counts_of(client, user) for user in [*USERS, ADDED]} == {2}
    assert counts_of(client, GONE) == 0
    assert client.hget(layout.TAG_STATISTICS, "tag") == "[[2,0,0],1]"
    assert client.hget(layout.TOTALS, "read:view-events") == "2"
    assert not any(map(is_beside, keys_of(client)))
    assert client.zrange(layout.recent_key("u1"), 0, -1) == ["e2"]
    assert client.hkeys(layout.arrivals_key("u1")) == ["2"]
    assert client.ttl(layout.arrivals_key("u1")) > 0
    assert client.hgetall(layout.ratings_key("u1")) == {"p": "4;1"}
    assert client.hgetall(layout.about_interests_key(GONE)) == {"items": "1"}
    for key in (layout.recommendations_key("u1"), layout.interests_key(GONE), layout.FOLLOWED, "somebody:else"):
        assert client.exists(key)
    assert client.hget(layout.CATALOG, "p")
    assert int(client.get(layout.CATALOG_VERSION)) > 7
    assert client.hgetall(layout.WEIGHTS_IN_FORCE) == {"version": "1", "document": DOCUMENT}  # to be swept
    u1_slot = layout.slot_writes_key(slot(layout.profile_key("u1")))
    assert client.hget(u1_slot, "version") == "2"
    assert not client.exists(layout.EXCHANGE)
    assert not client.exists(layout.PUBLISHING)  # a place among the keys that were live


def barred(client: Any) -> int:
    """How many of some slots are barred."""
    return sum(client.hexists(layout.slot_writes_key(number), "exchange") for number in range(0, SLOTS, 1_000))


def test_whole(ground: Ground, client: Any, sides: Namespaces) -> None:
    """Users, statistics, and what only one side has. Who had a place before is refused for good; others get one."""
    assert sides.read_by_rebuild() == 2
    assert sides.weights_versions() == ("1", "2")
    assert sides.unfinished() is None
    told = list[tuple[int, int]]()
    with closing(store_of(ground)) as old, closing(store_of(ground, name_of(sides))) as rebuilding:
        sides.begin(SAVEPOINT)
        sides.finish(lambda _, done, total: told.append((done, total)))
        assert told[-1] == (SLOTS, SLOTS)
        check_new(client)
        assert barred(client) == 0
        for action in (
            lambda: old.commit_profiles(rows(["u1"], 9), NEW),
            lambda: write_statistics(old, 9),
            lambda: old._patiently(old._take),
        ):
            with pytest.raises(FencedOffError):
                action()
        rebuilding.commit_profiles(rows(["u1"], 9), NEW)  # nothing live is of it any more
    sides.drop()
    check_new(client)
    with closing(store_of(ground)) as store:
        assert store.commit_profiles(rows(["u1"], 3), NEW) is None
    assert client.hgetall(layout.profile_key("u1")) == {"tag": "3"}


@pytest.mark.parametrize(
    "packets",
    [1 + PACKETS_OF_ALL // 2, 1 + 3 * PACKETS_OF_ALL + PACKETS_OF_SLOTS + PACKETS_OF_ALL // 2],
    ids=["half barred", "half lifted"],
)
def test_gone_on_with(
    ground: Ground, client: Any, sides: Namespaces, packets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is done when it breaks off: each user is whole, no job writes, and another one does the rest."""
    fail_after(packets, sides._exchange, monkeypatch, KilledError())
    with pytest.raises(KilledError):
        exchange(sides)
    assert 0 < barred(client) < SLOTS // 1_000
    assert {counts_of(client, user) for user in USERS} == {1 if packets < PACKETS_OF_SLOTS else 2}
    with pytest.raises(FencedOffError, match="a rebuild is taking the place"):
        store_of(ground)
    with closing(Namespaces(ground.url)) as another:
        assert another.unfinished() == SAVEPOINT
        another.finish(lambda *_: None)
        assert another.unfinished() is None
        assert not another.abandon()
    check_new(client)
    assert barred(client) == 0


def test_undone(ground: Ground, client: Any, sides: Namespaces, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not begin everywhere has not begun; nor has what was interrupted before anything was exchanged."""
    fail_after(1 + PACKETS_OF_ALL // 2, sides._exchange, monkeypatch, redis.ConnectionError("gone"))
    with pytest.raises(CommandError, match="Redis does not do it: gone"):
        sides.begin(SAVEPOINT)
    assert (sides.unfinished(), barred(client)) == (None, 0)
    sides.begin(SAVEPOINT)
    with closing(Namespaces(ground.url)) as another:
        assert another.unfinished() == SAVEPOINT
        assert another.abandon()
    assert (sides.unfinished(), barred(client)) == (None, 0)
    assert {counts_of(client, user) for user in [*USERS, GONE]} == {1}
    with closing(store_of(ground)) as store:
        assert store.commit_profiles(rows(["u1"], 3), NEW) is None


def exchange(sides: Namespaces) -> None:
    """All of it."""
    sides.begin(SAVEPOINT)
    sides.finish(lambda *_: None)


def fail_after(
    packets: int, exchange: ClusterExchange, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """Let so many packets be carried out, and the next one too, but once nobody learns of it."""
    sent = [0]
    ask = exchange._link.ask

    def counted(commands: Any) -> Any:
        answers = ask(commands)
        sent[0] += 1
        if sent[0] == packets + 1:
            raise failure
        return answers

    monkeypatch.setattr(exchange._link, "ask", counted)


def test_killed(ground: Ground, client: Any, sides: Namespaces) -> None:
    """The process is gone in the middle of it, for good. No sweep counts as complete before it is over."""
    sides.begin(SAVEPOINT)
    program = f"""
import os, signal
from reweigh.namespaces import Namespaces
sides = Namespaces({ground.url!r})
assert sides.unfinished()
sides.finish(lambda _, done, total: os.kill(os.getpid(), signal.SIGKILL) if done > total / 2 else None)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    assert {counts_of(client, user) for user in USERS} == {1, 2}
    assert sides.unfinished() == SAVEPOINT
    with closing(ScoreSweep(client, sleep=lambda _: None)) as sweep:
        assert sweep.raise_version(2, WEIGHTS) == 2
        assert not sweep.run(2, WEIGHTS).complete
        client.hset(layout.WEIGHTS_IN_FORCE, "version", 1)  # as it was
        sides.finish(lambda *_: None)
        assert sweep.run(2, WEIGHTS).complete
    check_new(client)


def test_slots_that_move_meanwhile(ground: Ground, client: Any, sides: Namespaces) -> None:
    """It says so, since some of their keys may have been missed."""
    sides.begin(SAVEPOINT)
    moved = list[int]()

    def meddle(what: str, done: int, total: int) -> None:
        if done > total / 2 and not moved:
            moved.append(slot(layout.profile_key("u1")))
            move(ground, moved[0])

    with pytest.raises(CommandError, match="slots of the cluster have moved during the exchange"):
        sides.finish(meddle)
    check_new(client)


def test_a_master_dies_meanwhile() -> None:
    """The exchange waits for its replica and goes on; nobody is left out."""
    with cluster(replicas=1) as ground, ground.client() as client, both_written(ground, client) as sides:
        for each in ground.servers[:3]:
            with each.admin() as admin:
                assert admin.wait(1, 30_000) == 1
        sides.begin(SAVEPOINT)
        killed = list[int]()

        def kill(what: str, done: int, total: int) -> None:
            if done > total / 2 and not killed:
                killed.append(done)
                ground.servers[1].kill()

        sides.finish(kill)
        client.forget()
        check_new(client)
        assert barred(client) == 0


def test_readers_under_load(ground: Ground, client: Any, sides: Namespaces) -> None:
    """Each read gives a user as before or as afterwards, none fails, and the statistics in memory become the new."""
    service, feed = RedisUserStore(ground.url, timeout_ms=20_000), StatisticsFeed(ground.url, width=3)
    service.start()
    feed.start()
    ending, failed, read = threading.Event(), list[BaseException](), [0]

    def go_on() -> None:
        try:
            while not ending.is_set():
                for user in USERS:
                    found = service.user(user, items=True)
                    count = found.rows["tag"].partition(",")[0]
                    assert {*found.purchased} == {*found.items} == {f"p{count}"}
                    read[0] += 1
        except BaseException as exc:
            failed.append(exc)
            raise

    readers = [threading.Thread(target=go_on) for _ in range(2)]
    for each in readers:
        each.start()
    try:
        wait_until(lambda: feed.loaded and (read[0] > len(USERS) or failed), 60)
        sides.begin(SAVEPOINT)
        sides.finish(lambda *_: None)
        reached = read[0]
        wait_until(lambda: read[0] > reached + 3 * len(USERS) or failed, 60)
        wait_until(lambda: feed.snapshot.tag_counts == {"tag": (2, 0, 0)}, 60)
    finally:
        ending.set()
        for each in readers:
            each.join(60)
        feed.stop()
        service.stop()
    assert not failed
    assert service.available
    check_new(client)


def test_what_earlier_ones_have_left(ground: Ground, client: Any, sides: Namespaces) -> None:
    """It is removed; what somebody wanted to be kept is not, and may be dropped."""
    with closing(Namespaces(ground.url, "to-keep")) as kept:
        kept.prepare()
        with closing(store_of(ground, "to-keep")) as store:
            store.commit_profiles(rows(["u1"], 2), NEW)
            write_statistics(store, 2)
        kept.prepare()  # nobody has said that it is to be kept
        assert not any(map(is_beside, keys_of(client)))
        with closing(store_of(ground, "to-keep")) as store:
            store.commit_profiles(rows(USERS[-4:], 2), NEW)
            write_statistics(store, 2)
        kept.keep()
        check_verifies_alone(ground, "to-keep")
        with pytest.raises(CommandError, match=r"rebuilt:to-keep: already.*--drop"):
            kept.prepare()
        assert {key for key in keys_of(client) if is_beside(key)} >= {Namespace("to-keep").key(layout.TOTALS)}
        kept.drop()
    assert not any(map(is_beside, keys_of(client)))
    assert {counts_of(client, user) for user in USERS} == {1}
    for name in ("17", "A"):
        with pytest.raises(CommandError, match="the namespace is"):
            Namespaces(ground.url, name)


def check_verifies_alone(ground: Ground, name: str) -> None:
    """What is verified is what the namespace has, or what is live, and nothing of the other."""
    for namespace, users, versions in ((name, {*USERS[-4:]}, (1, -1)), ("", {*USERS, GONE}, (1, 1))):
        with closing(Stored(ground.url, namespace)) as stored, duckdb.connect() as database:
            stored.read_into(database, lambda _read, _of: None)
            found = database.sql("SELECT DISTINCT user_id FROM stored_items").fetchall()
            assert {user for (user,) in found} == users
            totals = database.sql("SELECT row FROM stored_totals").fetchall()
            assert totals == [("2" if namespace else "1",)]
            others = database.sql("SELECT key FROM stored_others").fetchall()
            assert others == ([] if namespace else [("somebody:else",)])
            assert stored.weights_in_force() == versions


def test_before_it_has_begun(client: Any, sides: Namespaces) -> None:
    """Both sides are read under the names of the live keys. What has lost a slot, or has one moving, does not begin."""
    found = {key: (live, rebuilt) for key, live, rebuilt in sides.pairs()}
    assert found[layout.profile_key("a{b}c")] == ({"tag": "1"}, {"tag": "2"})
    assert found[layout.profile_key(GONE)] == ({"tag": "1"}, None)
    assert found[layout.purchased_key("u1")] == ({"p1"}, {"p2"})
    assert found[layout.TOTALS] == ({"read:view-events": "1"}, {"read:view-events": "2"})
    assert set(found) == {
        *(layout.PRODUCT_STATISTICS, layout.TAG_STATISTICS, layout.TOTALS, layout.recent_key("u1"), "somebody:else"),
        *(
            key_of(user)
            for user in [*USERS, GONE, ADDED]
            for key_of in (layout.profile_key, layout.counts_key, layout.items_key, layout.purchased_key)
        ),
    }
    assert [key for key, *_ in sides.pairs([layout.TOTALS])] == [layout.TOTALS]
    mark = Namespace(name_of(sides)).key(layout.slot_writes_key(7))
    kept = client.hgetall(mark)
    client.delete(mark)
    with pytest.raises(CommandError, match="1 slots of the cluster have lost what was rebuilt"):
        sides.begin(SAVEPOINT)
    client.hset(mark, mapping=kept)
    first, second = (client.server(node) for node in client.masters()[:2])
    number = next(number for number, name in client.slots().items() if name == client.masters()[0].name)
    first.execute_command("CLUSTER SETSLOT", number, "MIGRATING", second.execute_command("CLUSTER MYID"))
    try:
        with pytest.raises(CommandError, match="are being moved, so nothing was exchanged"):
            sides.begin(SAVEPOINT)
    finally:
        first.execute_command("CLUSTER SETSLOT", number, "STABLE")
    assert sides.unfinished() is None
    assert {counts_of(client, user) for user in USERS} == {1}
