"""The service's Redis edge and the sweep, on a real server."""

from __future__ import annotations

import random
import signal
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.stack import Stack
from reccore import encoding, layout
from reccore.event_types import EventTypes
from reccore.scoring import format_score, score
from reccore.weights import Weights
from recsvc.errors import StoreRefused, StoreUnavailable
from recsvc.memory import MemoryUserStore
from recsvc.settings import Settings
from recsvc.statistics_feed import StatisticsFeed
from recsvc.sweep import ScoreSweep, Swept
from recsvc.sweeper import Sweeper
from recsvc.user_store import NOBODY, RedisUserStore, StoredUser, UserStore
from tests.waiting import wait_until
from zkconfig.memory import MemoryCoordination, MemoryServer
from zkconfig.watcher import WeightsWatcher

NAMES = ("view", "add_to_cart", "purchase")
TYPES = EventTypes.from_settings({})


@pytest.fixture
def store(stack: Stack, database: Any) -> Any:
    """The real store, started."""
    made = RedisUserStore(stack.addresses.redis_url, timeout_ms=75)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def sweep(database: Any) -> Any:
    """The sweep, unpaced."""
    made = ScoreSweep(database, now=lambda: 1_000, sleep=lambda _: None)
    yield made
    made.close()


def put_user(client: Any, user_id: str, tags: dict[str, str], bought: tuple[str, ...] = ()) -> None:
    """Store a user's counts, as the job does."""
    client.hset(layout.counts_key(user_id), mapping=tags)
    if bought:
        client.sadd(layout.purchased_key(user_id), *bought)


@pytest.mark.parametrize("kind", ["memory", "real"])
def test_the_store_gives_what_the_job_has_written(kind: str, store: RedisUserStore, database: Any) -> None:
    """Fake and real alike: counts and purchases of a user, nothing for an unknown one, several in their order."""
    put_user(database, "a{b}/ü", {"shoes": "1,2,3;5"}, ("p1", "p2"))
    expected = StoredUser({"shoes": "1,2,3;5"}, frozenset({"p1", "p2"}))
    used: UserStore = store if kind == "real" else MemoryUserStore({"a{b}/ü": expected})
    assert used.user("a{b}/ü") == expected
    assert used.user("nobody") == NOBODY
    assert [dict(each) for each in used.counts(["nobody", "a{b}/ü"])] == [{}, dict(expected.rows)]


def test_a_paused_redis_costs_one_wait(stack: Stack, store: RedisUserStore, database: Any) -> None:
    """The first request waits for its time limit, the next ones not at all, and the store recovers by itself."""
    put_user(database, "ann", {"shoes": "1,0,0;5"})
    known = store.user("ann")
    stack.kill("redis", signal.SIGSTOP)
    try:
        waits = [_refused(store) for _ in range(20)]
    finally:
        stack.kill("redis", signal.SIGCONT)
    assert waits[0] < 0.5
    assert sum(waits[1:]) < 0.1
    wait_until(lambda: store.available)
    assert store.user("ann") == known


def test_a_restarted_redis_is_found_again(stack: Stack, store: RedisUserStore, database: Any) -> None:
    """Connections of before the restart are replaced."""
    store.user("ann")
    stack.kill("redis")
    wait_until(lambda: stack.pid("redis") > 0)
    stack.wait_ready("redis")
    wait_until(lambda: store.ping())
    assert store.user("nobody") == NOBODY


def test_a_key_that_holds_something_else_fails_its_own_requests_alone(store: RedisUserStore, database: Any) -> None:
    """Redis is not away because of it: other users are read, and over the same connection."""
    put_user(database, "ann", {"shoes": "1,0,0;5"})
    database.set(layout.counts_key("odd"), "text")
    connections = len(database.client_list())
    for ask in (lambda: store.user("odd"), lambda: store.counts(["ann", "odd"])):
        with pytest.raises(StoreRefused, match="WRONGTYPE"):
            ask()
        assert store.available
        assert store.user("ann").rows == {"shoes": "1,0,0;5"}
    assert len(database.client_list()) == connections + 1


@pytest.mark.parametrize(
    ("answer", "away"),
    [
        ("LOADING Redis is loading the dataset in memory", True),
        ("BUSY Redis is busy running a script", True),
        ("CLUSTERDOWN The cluster is down", True),
        ("MASTERDOWN Link with MASTER is down", True),
        ("NOAUTH Authentication required.", True),
        ("NOPERM this user has no permissions", False),
        ("ERR unknown command", False),
        ("WRONGTYPE Operation against a key", False),
    ],
)
def test_what_redis_says_of_itself_means_away_and_what_it_says_of_a_request_does_not(answer: str, away: bool) -> None:
    """States in which a server serves nobody open the breaker, any other refusal is an error of its request."""

    class Refuse(socketserver.StreamRequestHandler):
        """Says the same to every command."""

        def handle(self) -> None:
            while command := self.rfile.readline():
                for _ in range(2 * int(command[1:])):
                    self.rfile.readline()
                self.wfile.write(f"-{answer}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refuse) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        store = RedisUserStore(f"redis://127.0.0.1:{server.server_address[1]}", timeout_ms=1_000)
        store.start()
        try:
            for _ in range(2):
                with pytest.raises(StoreUnavailable if away else StoreRefused):
                    store.user("ann")
            assert store.ping() is store.available is not away
        finally:
            store.stop()
            server.shutdown()


def _refused(store: RedisUserStore) -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.user("ann")
    return time.monotonic() - began


def test_statistics_are_loaded_and_followed(stack: Stack, database: Any) -> None:
    """What was there before the start, what changes afterwards, and a catalogue that is loaded later."""
    row = encoding.encode_product_statistics((1, 0, 0), 7, ["learned"])
    database.hset(layout.PRODUCT_STATISTICS, "p1", row)
    feed = StatisticsFeed(stack.addresses.redis_url, width=3)
    feed.start()
    try:
        wait_until(lambda: feed.loaded)
        assert feed.snapshot.structure.ids == ("p1",)
        changed = encoding.encode_product_statistics((2, 0, 0), 8, ["learned"])
        database.xadd(layout.CHANGES, {"kind": layout.PRODUCTS_CHANGED, "rows": f'{{"p1":{changed},"p2":{row}}}'})
        tag = encoding.encode_tag_statistics((3, 0, 0), 8)
        database.xadd(layout.CHANGES, {"kind": layout.TAGS_CHANGED, "rows": f'{{"learned":{tag}}}'})
        wait_until(lambda: feed.snapshot.tag_counts == {"learned": (3, 0, 0)})
        assert feed.snapshot.counts[:, 0].tolist() == [2, 1]
        database.hset(layout.PRODUCT_STATISTICS, mapping={"p1": changed, "p2": row})
        database.hset(layout.CATALOG, "p2", '{"name": "Two", "tags": ["given"], "price": null, "category": null}')
        database.incr(layout.CATALOG_VERSION)
        wait_until(lambda: {each: known.name for each, known in feed.snapshot.described.items()} == {"p2": "Two"})
        assert feed.snapshot.structure.tag_names == ("learned", "given")
    finally:
        feed.stop()


def test_a_catalogue_that_changes_all_the_time_is_not_loaded_all_the_time(
    stack: Stack, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of the thread's time stays for what changes by events."""
    feed = StatisticsFeed(stack.addresses.redis_url, width=3)
    spans, load, rows = list[tuple[float, float]](), feed.load, feed._rows

    def noted_load() -> None:
        began = time.monotonic()
        load()
        spans.append((began, time.monotonic()))

    def slow_rows(key: str) -> dict[str, str]:
        time.sleep(0.02)
        return rows(key)

    monkeypatch.setattr(feed, "load", noted_load)
    monkeypatch.setattr(feed, "_rows", slow_rows)
    feed.start()
    try:
        for number in range(40):
            database.hset(layout.CATALOG, "p1", f'{{"name": "{number}", "tags": [], "price": null, "category": null}}')
            database.incr(layout.CATALOG_VERSION)
            time.sleep(0.03)
        wait_until(lambda: feed.snapshot.described["p1"].name == "39")
    finally:
        feed.stop()
    assert all(begun - ended > ended - before for (before, ended), (begun, _) in pairwise(spans))


@pytest.mark.parametrize("followed", [False, True])
def test_changes_that_were_trimmed_before_they_were_read_are_noticed(
    stack: Stack, database: Any, caplog: pytest.LogCaptureFixture, followed: bool
) -> None:
    """A reader that fell behind reads everything again at once; one that keeps up does not."""

    def change(pipeline: Any, product: str, count: int) -> None:
        row = encoding.encode_product_statistics((count, 0, 0), count, [])
        pipeline.hset(layout.PRODUCT_STATISTICS, product, row)
        pipeline.xadd(layout.CHANGES, {"kind": layout.PRODUCTS_CHANGED, "rows": f'{{"{product}":{row}}}'})

    def shows(**counts: int) -> Callable[[], bool]:
        return lambda: dict(zip(feed.snapshot.structure.ids, feed.snapshot.counts[:, 0], strict=True)) == counts

    feed = StatisticsFeed(stack.addresses.redis_url, width=3)
    feed.start()
    try:
        wait_until(lambda: feed.loaded)
        if followed:
            change(database, "p1", 1)
            wait_until(shows(p1=1))
        with database.pipeline(transaction=True) as at_once:  # so that no reader sees what is between
            change(at_once, "p1", 2)
            change(at_once, "p2", 3)
            at_once.xtrim(layout.CHANGES, maxlen=1, approximate=False)
            at_once.execute()
        wait_until(shows(p1=2, p2=3), 5)
        change(database, "p2", 4)
        wait_until(shows(p1=2, p2=4))
    finally:
        feed.stop()
    assert len([each for each in caplog.records if "trimmed" in each.message]) == 1


numbers = st.one_of(
    st.sampled_from([0, 1, 3, 0.1, 0.3, 1e-7, 1e300, 5e-324, 1.7976931348623157e308, 2.5]),
    st.floats(0, allow_nan=False, allow_infinity=False),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(numbers, numbers, numbers), st.lists(st.tuples(*[st.integers(0, 10**9)] * 3), min_size=1, max_size=5))
def test_stored_scores_are_those_of_the_rules(
    database: Any, sweep: ScoreSweep, values: tuple[float, ...], rows: list[tuple[int, ...]]
) -> None:
    """For any weights, the text of every score is that of reccore."""
    database.flushall()
    weights = Weights(NAMES, values)
    put_user(database, "u", {f"t{i}": ",".join(map(str, row)) for i, row in enumerate(rows)})
    assert sweep.raise_version(1, weights) == 1
    assert sweep.run(1, weights).complete
    expected = {f"t{i}": format_score(score(row, weights.values)) for i, row in enumerate(rows)}
    assert database.hgetall(layout.profile_key("u")) == expected


def test_an_older_version_writes_nothing(database: Any, sweep: ScoreSweep) -> None:
    """The version only rises, and a pass of a version that is not in force ends at once."""
    put_user(database, "u", {"shoes": "1,0,0;5"})
    new, old = Weights(NAMES, (2, 0, 0)), Weights(NAMES, (1, 0, 0))
    assert sweep.raise_version(5, new) == 5
    assert sweep.raise_version(4, old) == 5
    assert not sweep.run(4, old).complete
    assert database.hgetall(layout.profile_key("u")) == {}
    assert sweep.run(5, new).complete
    sweep.mark_swept(4)
    assert sweep.record().swept == -1
    sweep.mark_swept(5)
    assert sweep.record().swept == 5


def test_what_is_none_of_ours_costs_nobody_else_the_sweep(
    database: Any, sweep: ScoreSweep, caplog: pytest.LogCaptureFixture
) -> None:
    """A key of another type, and counts that nobody can read, are left out by name; all others get their scores."""
    caplog.set_level("DEBUG", "recsvc.sweep")
    for number in range(50):
        put_user(database, f"user-{number}", {"shoes": "1,0,0;5"})
    database.set(layout.counts_key("text instead of counts"), "x")
    put_user(database, "text instead of scores", {"shoes": "1,0,0;5"})
    database.set(layout.profile_key("text instead of scores"), "x")
    put_user(database, "unreadable", {"shoes": "many"})
    weights = Weights(NAMES, (2, 0, 0))
    sweep.raise_version(1, weights)
    done = sweep.run(1, weights)
    assert done.complete
    assert done.users == 50
    assert all(database.hget(layout.profile_key(f"user-{number}"), "shoes") == "2" for number in range(50))
    for user_id in ("text instead of counts", "text instead of scores", "unreadable"):
        assert f"user '{user_id}' is left out" in caplog.text


def test_a_record_of_another_type_is_waited_out(database: Any, sweep: ScoreSweep) -> None:
    """It is nobody's user, so it is told like a Redis that is away, which the sweeper tries again."""
    database.set(layout.WEIGHTS_IN_FORCE, "x")
    with pytest.raises(StoreUnavailable):
        sweep.record()


def test_expired_tags_go_from_both_hashes(database: Any, sweep: ScoreSweep) -> None:
    """At 1,000 s with a time to live of 100 s: what was written before 900 s goes, and a user with nothing left too."""
    put_user(database, "some", {"old": "1,0,0;5;899", "new": "1,0,0;5;900", "ever": "1,0,0;5"})
    put_user(database, "none", {"old": "1,0,0;5;1"})
    weights = Weights(NAMES, (1, 3, 5))
    sweep.raise_version(1, weights)
    sweep.run(1, weights)
    assert set(database.hgetall(layout.profile_key("some"))) == {"old", "new", "ever"}
    done = sweep.run(1, weights, tag_expiry_seconds=100, write_scores=False)
    assert (done.users, done.changed) == (2, 2)
    assert set(database.hgetall(layout.profile_key("some"))) == {"new", "ever"}
    stamped = {"new": "1,0,0;5;900", "ever": "1,0,0;5;1000"}
    assert database.hgetall(layout.counts_key("some")) == stamped  # from now on all of them have a second to expire at
    assert not database.exists(layout.counts_key("none"), layout.profile_key("none"))


def test_expired_products_go_too(database: Any, sweep: ScoreSweep) -> None:
    """Also of users without tags; numbers and sums stay as they are. Without expiry nobody looks at them."""
    for user in ("u", "{v}"):
        items = {"old": "1,0,0;5;899", "new": "1,0,0;5;900;7;12:1", "ever": "1,0,0;5;;8;13:1", "bare": "1,0,0;5"}
        database.hset(layout.items_key(user), mapping=items)
    weights = Weights(NAMES, (1, 3, 5))
    sweep.raise_version(1, weights)
    assert sweep.run(1, weights).changed == 0
    done = sweep.run(1, weights, tag_expiry_seconds=100)
    assert (done.users, done.changed) == (0, 2)
    stamped = {"new": "1,0,0;5;900;7;12:1", "ever": "1,0,0;5;1000;8;13:1", "bare": "1,0,0;5;1000"}
    for user in ("u", "{v}"):
        assert database.hgetall(layout.items_key(user)) == stamped


_WRITE = """
if tonumber(redis.call('HGET', KEYS[1], 'version') or -1) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[3], 'shoes', ARGV[2] .. ',0,0;5')
redis.call('HSET', KEYS[2], 'shoes', ARGV[3])
return 1
"""


def test_no_newer_count_is_overwritten_and_no_older_score_stays(stack: Stack, database: Any) -> None:
    """Weights change again and again under writers of which one is always late: at rest all scores are exact."""
    users = [f"u{i}" for i in range(300)]
    for user in users:
        put_user(database, user, {"shoes": "1,0,0;5", "hats": "0,2,0;5"})
    state = {"version": 1, "view": 1}
    stopping = threading.Event()

    def write(seed: int) -> None:
        client = redis.Redis.from_url(stack.addresses.redis_url, decode_responses=True)
        script, chance, count = client.register_script(_WRITE), random.Random(seed), 1
        mine = users[seed::2]
        while not stopping.is_set():
            version, view = state["version"], state["view"]
            if chance.random() < 0.2:
                time.sleep(0.01)  # now these weights may be older than those in force
            user, count = chance.choice(mine), count + 1
            keys = [layout.WEIGHTS_IN_FORCE, layout.profile_key(user), layout.counts_key(user)]
            script(keys=keys, args=[version, count, count * view])
        client.close()

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(2)]
    sweep = ScoreSweep(database, sleep=lambda _: None)
    for thread in threads:
        thread.start()
    repeated, last = 0, 1
    try:
        while last < 14 or (not repeated and last < 300):
            last += 1
            weights = Weights(NAMES, (last, 1, 1))
            sweep.raise_version(last, weights)
            state.update(version=last, view=last)
            done = sweep.run(last, weights)
            assert done.complete
            repeated += done.repeated
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
        sweep.close()
    assert repeated > 0  # the test met what it is for
    for user in users:
        rows = database.hgetall(layout.counts_key(user))
        expected = {
            tag: format_score(score(encoding.decode_counts(row).counts, (last, 1, 1))) for tag, row in rows.items()
        }
        assert database.hgetall(layout.profile_key(user)) == expected


@contextmanager
def running(sweep: ScoreSweep, server: MemoryServer) -> Iterator[list[int]]:
    """A sweeper at work that knows the three event types; gives the versions of the passes that it makes."""
    watcher = WeightsWatcher(MemoryCoordination(server), TYPES, role="sweeper")
    watcher.start()
    wait_until(lambda: watcher.connected)
    passes: list[int] = []
    make_pass = sweep.run

    def run(version: int, weights: Weights, **given: Any) -> Swept:
        passes.append(version)
        return make_pass(version, weights, **given)

    sweep.run = run  # type: ignore[method-assign]
    sweeper = Sweeper(sweep, watcher, Settings(event_types=TYPES))
    thread = threading.Thread(target=sweeper.run)
    thread.start()
    try:
        yield passes
    finally:
        sweeper.stop()
        thread.join()
        watcher.stop()


WEIGHTS = "/config/recommendation/weights"


def test_a_sweeper_with_fewer_event_types_follows_those_it_has(
    database: Any, sweep: ScoreSweep, caplog: pytest.LogCaptureFixture
) -> None:
    """The weights of other processes are swept once, for the types that are known here, and told of once."""
    put_user(database, "u", {"shoes": "2,1,0,9;5"})
    server = MemoryServer()
    version = server.write(WEIGHTS, b'{"view": 10, "add_to_cart": 1, "purchase": 1, "wishlist": -2}') + 100
    sweep.raise_version(version, Weights((*NAMES, "wishlist"), (10, 1, 1, -2)))
    with running(sweep, server) as passes:
        wait_until(lambda: sweep.record().swept == version)
        time.sleep(1.5)  # longer than it waits between two looks
        assert passes.count(version) == 1
    assert database.hget(layout.profile_key("u"), "shoes") == "21"
    assert [each.message for each in caplog.records].count(
        f"version {version}: wishlist unknown here (EXTRA_EVENT_TYPES), so without weight in the scores"
    ) == 1


@pytest.mark.parametrize("document", ["nonsense", '{"view": 1, "wishlist": 2}'])
def test_a_sweeper_waits_out_weights_that_it_cannot_read(
    database: Any, sweep: ScoreSweep, caplog: pytest.LogCaptureFixture, document: str
) -> None:
    """It makes no pass that Redis would refuse, says so once, and follows the next weights."""
    put_user(database, "u", {"shoes": "2,1,0;5"})
    server = MemoryServer()
    server.write(WEIGHTS, b'{"view": 10, "add_to_cart": 1, "purchase": 1}')
    ahead = server.transaction + 20
    database.hset(layout.WEIGHTS_IN_FORCE, mapping={"version": ahead, "document": document})
    with running(sweep, server) as passes:
        time.sleep(1.5)
        assert passes == []
        while (version := server.write(WEIGHTS, b'{"view": 20, "add_to_cart": 1, "purchase": 1}')) <= ahead:
            pass
        wait_until(lambda: sweep.record().swept == version)
    assert database.hget(layout.profile_key("u"), "shoes") == "41"
    assert sum(f"version {ahead}: what Redis holds of it" in each.message for each in caplog.records) == 1


def test_the_sweeper_follows_the_weights(database: Any) -> None:
    """A change, one that Redis knows before ZooKeeper tells, and a Redis that lost everything: scores follow."""
    server = MemoryServer()
    watcher = WeightsWatcher(MemoryCoordination(server), TYPES, role="sweeper")
    watcher.start()
    wait_until(lambda: watcher.connected)
    sweep = ScoreSweep(database)
    sweeper = Sweeper(sweep, watcher, Settings(event_types=TYPES))
    thread = threading.Thread(target=sweeper.run)
    thread.start()

    def shows(text: str) -> Callable[[], bool]:
        return lambda: database.hget(layout.profile_key("u"), "shoes") == text

    try:
        put_user(database, "u", {"shoes": "2,1,0;5"})
        server.write("/config/recommendation/weights", b'{"view": 10, "add_to_cart": 1, "purchase": 1}')
        wait_until(shows("21"))
        wait_until(lambda: sweep.record().swept == watcher.in_force.version)
        ahead = watcher.in_force.version + 5
        sweep.raise_version(ahead, Weights(NAMES, (100, 1, 1)))
        wait_until(shows("201"))
        wait_until(lambda: database.hget(layout.WEIGHTS_IN_FORCE, "swept") == str(ahead))
        database.flushall()
        wait_until(lambda: database.hget(layout.WEIGHTS_IN_FORCE, "version") == str(watcher.in_force.version))
    finally:
        sweeper.stop()
        thread.join()
        sweep.close()
        watcher.stop()
