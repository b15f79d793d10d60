"""No user has more tags in Redis than may be, and those are the right ones, whoever wrote them in whatever order."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flink_jobs.errors import FencedOffError
from flink_jobs.redis_store import RedisStore, WeightsStamp
from flink_jobs.user_rows import UserRows
from reccore import encoding, layout
from reccore.row_cap import RowCap
from reccore.weights import Weights
from recsvc.sweep import ScoreSweep
from tests.redis_modes import in_each_way

STAMP = WeightsStamp(10, '{"view": 1, "add_to_cart": 1, "purchase": 1}')
WEIGHTS = Weights(("view", "add_to_cart", "purchase"), (1, 1, 1))
MOST = 3
USERS = ("u", "{v}")
Counted = dict[tuple[str, str], int]


def batch(rows: Counted, written_at: int | None = None) -> list[UserRows]:
    """Rows as the job writes them, all events being views."""
    users: dict[str, UserRows] = {}
    for (user_id, tag), count in rows.items():
        of_user = users.setdefault(user_id, UserRows(user_id, [], [], []))
        of_user.counts.extend((tag, encoding.encode_counts([count, 0, 0], 1, written_at)))
        of_user.scores.extend((tag, str(count)))
    return list(users.values())


def stored(client: Any, user_id: str) -> dict[str, int]:
    """What Redis has of a user, the same in both hashes."""
    counts = client.hgetall(layout.counts_key(user_id))
    scores = client.hgetall(layout.profile_key(user_id))
    found = {tag: encoding.decode_counts(row).counts[0] for tag, row in counts.items()}
    assert scores == {tag: str(count) for tag, count in found.items()}
    return found


def recount(events: Sequence[tuple[str, str]], user_id: str, most: int) -> dict[str, int]:
    """What must be there, counted from the events."""
    tags = [tag for user, tag in events if user == user_id]
    counted = {tag: tags.count(tag) for tag in tags}
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:most])


def dropped(client: Any) -> int:
    """How many tags have left, as it is counted."""
    return int(client.get(layout.DROPPED_TAGS) or 0)


def test_a_user_of_very_many_tags_keeps_the_first(open_store: Callable[..., RedisStore], client: Any) -> None:
    """Of thousands of tags in one batch the most frequent stay; a neighbour is left alone; those that left are told."""
    store = open_store(cap=RowCap(100))
    rows = {("fan", f"t{number:04}"): 1 + number % 7 for number in range(5_000)}
    store.commit_profiles(batch({**rows, ("other", "tag"): 2}), STAMP)
    assert stored(client, "fan") == {f"t{number:04}": 7 for number in range(6, 700, 7)}
    assert stored(client, "other") == {"tag": 2}
    assert dropped(client) == 4_900


def test_a_tag_that_left_comes_back_with_all_its_events(open_store: Callable[..., RedisStore], client: Any) -> None:
    """The job's state has kept its count; the last of the others leaves for it."""
    store = open_store(cap=RowCap(2))
    store.commit_profiles(batch({("u", "a"): 3, ("u", "b"): 2, ("u", "c"): 2}), STAMP)
    assert stored(client, "u") == {"a": 3, "b": 2}
    store.commit_profiles(batch({("u", "c"): 3}), STAMP)
    assert stored(client, "u") == {"a": 3, "c": 3}
    assert dropped(client) == 2


def test_products_are_kept_by_the_same_rule(open_store: Callable[..., RedisStore], client: Any) -> None:
    """By their events, beside the tags; what was bought is remembered in any case."""
    store = open_store(cap=RowCap(2))
    items = ["p", "1,0,0;5", "q", "0,0,3;5;;9;2000:1", "r", "2,0,0;5"]
    for user_id in USERS:
        tags = (["a", "1,0,0;5"], ["a", "1"])
        assert store.commit_profiles([UserRows(user_id, *tags, ["q"], items)], STAMP) is None
        assert client.hgetall(layout.items_key(user_id)) == {"q": "0,0,3;5;;9;2000:1", "r": "2,0,0;5"}
        assert client.smembers(layout.purchased_key(user_id)) == {"q"}
        assert stored(client, user_id) == {"a": 1}
    assert (client.get(layout.DROPPED_ITEMS), dropped(client)) == ("2", 0)


@in_each_way
def test_many_crowded_users_of_one_batch(open_store: Callable[..., RedisStore], client: Any) -> None:
    """More users than are looked at together."""
    store = open_store(cap=RowCap(700))
    rows = {(f"u{user}", f"t{tag:03}"): 1 for user in range(7) for tag in range(703)}
    store.commit_profiles(batch(rows), STAMP)
    for user in range(7):
        assert stored(client, f"u{user}") == {f"t{tag:03}": 1 for tag in range(700)}
    assert dropped(client) == 21


@in_each_way
def test_an_expired_tag_keeps_nobody_out(open_store: Callable[..., RedisStore], client: Any) -> None:
    """It leaves both hashes at once, without being counted among those for which there was no room."""
    now = int(time.time())
    store = open_store(cap=RowCap(2, tag_expiry_seconds=100))
    store.commit_profiles(batch({("u", "old"): 9}, written_at=now - 200), STAMP)
    store.commit_profiles(batch({("u", "a"): 1, ("u", "b"): 1}, written_at=now), STAMP)
    assert stored(client, "u") == {"a": 1, "b": 1}
    assert dropped(client) == 0


@in_each_way
def test_an_expired_tag_keeps_nobody_out_later(open_store: Callable[..., RedisStore], client: Any) -> None:
    """Where tags expire, one that found no room before may find some: it is written, whatever was kept then."""
    now = int(time.time())
    store = open_store(cap=RowCap(1, tag_expiry_seconds=1_000))
    store.commit_profiles(batch({("u", "a"): 9, ("u", "b"): 1}, written_at=now), STAMP)
    assert stored(client, "u") == {"a": 9}
    client.hset(layout.counts_key("u"), "a", encoding.encode_counts([9, 0, 0], 1, now - 2_000))
    store.commit_profiles(batch({("u", "b"): 1}, written_at=now), STAMP)
    assert stored(client, "u") == {"b": 1}


class Meddler:
    """Stands between a store and Redis: does something once, right before a transaction that drops tags."""

    def __init__(self, connection: Any, meddle: Callable[[], object]) -> None:
        self._connection, self._meddle = connection, meddle
        self.done = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def send_packed_command(self, packed: list[bytes], **options: Any) -> None:
        """Send what is sent, after meddling."""
        if b"HDEL" in packed[0]:
            self.done += 1
            if self.done == 1:
                self._meddle()
        self._connection.send_packed_command(packed, **options)


def test_what_could_not_stay_is_left_out(open_store: Callable[..., RedisStore], client: Any) -> None:
    """A tag after the last one that was kept costs no further look, and counts as one that left."""
    store = open_store(cap=RowCap(2))
    store.commit_profiles(batch({("u", "a"): 3, ("u", "b"): 2, ("u", "c"): 1}), STAMP)
    looked = Meddler(store._connection, lambda: None)
    store._connection = looked
    store.commit_profiles(batch({("u", "d"): 1, ("u", "c"): 2, ("v", "d"): 1}), STAMP)
    assert (stored(client, "u"), stored(client, "v")) == ({"a": 3, "b": 2}, {"d": 1})
    assert (looked.done, dropped(client)) == (0, 3)
    store.commit_profiles(batch({("u", "b"): 4, ("u", "c"): 3}), STAMP)
    assert stored(client, "u") == {"a": 3, "b": 4}  # "c" was no worse than the last one kept then
    assert (looked.done, dropped(client)) == (1, 4)


@in_each_way
def test_nobody_is_looked_at_for_what_could_not_stay(
    open_store: Callable[..., RedisStore], client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However Redis is run, a crowded user is looked at again only for a row that may stay."""
    store = open_store(cap=RowCap(2))
    store.commit_profiles(batch({("u", "a"): 3, ("u", "b"): 2, ("u", "c"): 1}), STAMP)
    looked: list[object] = []
    drop = store._drop

    def look(*which: Any) -> None:
        looked.append(which)
        drop(*which)

    monkeypatch.setattr(store, "_drop", look)
    store.commit_profiles(batch({("u", "d"): 1, ("u", "c"): 2}), STAMP)
    assert (looked, stored(client, "u"), dropped(client)) == ([], {"a": 3, "b": 2}, 3)
    store.commit_profiles(batch({("u", "c"): 3}), STAMP)
    assert (len(looked), stored(client, "u"), dropped(client)) == (1, {"a": 3, "c": 3}, 4)


def test_what_another_writer_adds_meanwhile_is_seen(open_store: Callable[..., RedisStore], client: Any) -> None:
    """Between reading and dropping another writer makes the last tag the first: then it is not the one that leaves."""
    first, second = (open_store(number, 2, cap=RowCap(2)) for number in range(2))
    rows = {("u", "a"): 3, ("u", "b"): 2, ("u", "c"): 1}
    meddler = Meddler(first._connection, lambda: second.commit_profiles(batch({("u", "c"): 4}), STAMP))
    first._connection = meddler
    first.commit_profiles(batch(rows), STAMP)
    assert meddler.done == 1  # the other one has dropped a tag itself, so that nothing was left to be dropped
    assert stored(client, "u") == {"a": 3, "c": 4}
    assert dropped(client) == 1


def test_an_older_writer_drops_nothing(open_store: Callable[..., RedisStore], client: Any) -> None:
    """One with a lower cap whose place is taken between its write and this: what the newer one allows stays."""
    old = open_store(cap=RowCap(1))
    rows = {("u", "a"): 3, ("u", "b"): 2, ("u", "c"): 1}
    old._connection = Meddler(old._connection, lambda: open_store(cap=RowCap(5)))
    with pytest.raises(FencedOffError):
        old.commit_profiles(batch(rows), STAMP)
    assert stored(client, "u") == {"a": 3, "b": 2, "c": 1}
    assert dropped(client) == 0


def test_a_lost_answer_drops_nothing_twice(open_store: Callable[..., RedisStore], client: Any) -> None:
    """When the connection breaks before the answer, it is done again, or found done."""
    store = open_store(cap=RowCap(2))
    store._connection = Meddler(store._connection, lambda: client.client_kill_filter(skipme=True, _type="normal"))
    store.commit_profiles(batch({("u", tag): 1 for tag in "abcd"}), STAMP)
    assert stored(client, "u") == {"a": 1, "b": 1}
    assert dropped(client) == 2


def test_the_sweep_brings_nothing_back(open_store: Callable[..., RedisStore], client: Any) -> None:
    """A sweep that has read a tag which leaves before it writes starts over with that user."""
    store = open_store(cap=RowCap(2))
    store.commit_profiles(batch({("u", "a"): 1, ("u", "b"): 1}), STAMP)
    meddled: list[int] = []

    class Connection:
        """Lets the job write between the sweep's reading and writing, once."""

        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def send_packed_command(self, packed: list[bytes], **options: Any) -> None:
            if b"MULTI" in packed[0] and not meddled:
                meddled.append(1)
                store.commit_profiles(batch({("u", "c"): 2}), STAMP)
            self._real.send_packed_command(packed, **options)

    sweep = ScoreSweep(client, sleep=lambda _: None)
    ground: Any = sweep._ground
    ground._connection = Connection(ground._connection)
    done = sweep.run(STAMP.version, WEIGHTS)
    sweep.close()
    assert done.complete
    assert done.repeated == 1
    assert stored(client, "u") == {"a": 1, "c": 2}


EVENTS = st.lists(st.tuples(st.sampled_from(USERS), st.sampled_from([f"t{n}" for n in range(8)])), max_size=60)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, st.data())
def test_any_order_of_writes_ends_with_the_recount(
    open_store: Callable[..., RedisStore], client: Any, events: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Any events, cut into batches anyhow, written by two writers, read again from anywhere: as an own recount."""
    client.flushall()
    writers = [open_store(number, 2, cap=RowCap(MOST)) for number in range(2)]
    counted: Counted = {}
    checkpoint: tuple[int, Counted] = (0, {})
    recoveries, place = 2, 0
    while place < len(events):
        size = data.draw(st.integers(1, 20), label="events of a batch")
        changed = {}
        for key in events[place : place + size]:
            counted[key] = changed[key] = counted.get(key, 0) + 1
        place += size
        for number in data.draw(st.permutations(range(2)), label="who writes first"):
            # A tag of a user is always the same writer's.
            mine = {key: count for key, count in changed.items() if sum(map(ord, "".join(key))) % 2 == number}
            writers[number].commit_profiles(batch(mine), STAMP)
        if data.draw(st.booleans(), label="checkpoint"):
            checkpoint = place, dict(counted)
        elif recoveries and data.draw(st.booleans(), label="recovery"):
            recoveries -= 1
            place, counted = checkpoint[0], dict(checkpoint[1])
            writers = [open_store(number, 2, cap=RowCap(MOST)) for number in range(2)]
    for user_id in USERS:
        assert stored(client, user_id) == recount(events, user_id, MOST)


def test_two_writers_at_once_and_a_sweep(open_store: Callable[..., RedisStore], client: Any) -> None:
    """Two writers hammer the same crowded users while passes of the sweep run: at rest all of it is the recount's."""
    users = [f"u{number}" for number in range(4)]
    writers = [open_store(number, 2, cap=RowCap(5)) for number in range(2)]
    written: list[list[tuple[str, str]]] = [[], []]
    writing = threading.Event()

    def write(number: int) -> None:
        chance, counted = random.Random(number), Counted()
        for _ in range(150):
            changed: Counted = {}
            for _ in range(20):
                key = (chance.choice(users), f"t{2 * int(20 * chance.random() ** 2) + number}")
                counted[key] = changed[key] = counted.get(key, 0) + 1
                written[number].append(key)
            writers[number].commit_profiles(batch(changed), STAMP)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    sweep = ScoreSweep(client, sleep=lambda _: None)
    client.hset(layout.WEIGHTS_IN_FORCE, mapping={"version": STAMP.version, "document": STAMP.document})

    def passes() -> None:
        while not writing.is_set():
            assert sweep.run(STAMP.version, WEIGHTS, tag_expiry_seconds=1_000).complete

    sweeping = threading.Thread(target=passes)
    for thread in (*threads, sweeping):
        thread.start()
    for thread in threads:
        thread.join()
    writing.set()
    sweeping.join()
    sweep.close()
    for user_id in users:
        assert stored(client, user_id) == recount(written[0] + written[1], user_id, 5)
    assert dropped(client) > 0
