"""What the job writes to a real Redis, and who may not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import redis

from flink_jobs.connected_store import connected_store
from flink_jobs.crowded_users import ITEMS, TAGS
from flink_jobs.errors import FencedOffError, RedisRefusedError, RedisUnavailableError
from flink_jobs.recent_events import WriteRecentEvents
from flink_jobs.redis_store import RedisStore, WeightsStamp
from flink_jobs.settings import parse_settings
from flink_jobs.user_rows import UserRows
from reccore import encoding, layout
from reccore.row_cap import RowCap
from reccore.slots import slot
from reccore.tag_list import escape_all, join_tags
from reccore.write_figures import decode_figures
from tests.redis_modes import in_each_way

STAMP = WeightsStamp(10, '{"view": 1}')


def row(user_id: str, tag: str, count: int, *bought: str) -> UserRows:
    """One row as the job writes it."""
    return UserRows(user_id, [tag, encoding.encode_counts([count, 0, 0], 1)], [tag, str(count)], list(bought))


@in_each_way
def test_profile_and_counts_are_written(open_store: Callable[..., RedisStore], client: Any) -> None:
    """Scores, counts and purchases of a user stand beside each other."""
    store = open_store()
    users = [row("a{b}c", "tag", 3, "p", "q"), row("a{b}c", "other", 1), UserRows("buyer", [], [], ["p"])]
    for _ in range(2):  # writing them again changes nothing
        assert store.commit_profiles(users, STAMP) is None
    assert client.hgetall(layout.profile_key("a{b}c")) == {"tag": "3", "other": "1"}
    assert client.hgetall(layout.counts_key("a{b}c")) == {"tag": "3,0,0;1", "other": "1,0,0;1"}
    assert client.smembers(layout.purchased_key("a{b}c")) == {"p", "q"}
    assert client.smembers(layout.purchased_key("buyer")) == {"p"}
    assert not client.exists(layout.profile_key("buyer"))


@in_each_way
def test_many_rows_of_one_batch(open_store: Callable[..., RedisStore], client: Any) -> None:
    """A batch of thousands of rows, of many users and of one, is written whole."""
    store = open_store()
    crowd = [row(f"u{number}", "tag", number) for number in range(3_000)]
    counts = [text for n in range(1_000) for text in (f"t{n}", encoding.encode_counts([n], 1))]
    scores = [text for n in range(1_000) for text in (f"t{n}", str(n))]
    store.commit_profiles([*crowd, UserRows("fan", counts, scores, [])], STAMP)
    assert client.hget(layout.profile_key("u2999"), "tag") == "2999"
    assert client.hlen(layout.profile_key("fan")) == 1_000


@in_each_way
def test_older_writer_is_fenced_off(open_store: Callable[..., RedisStore], client: Any) -> None:
    """What a newer writer wrote stays, and the older one learns that it has to stop."""
    old = open_store()
    old.commit_profiles([row("u", "tag", 1)], STAMP)
    new = open_store()
    new.commit_profiles([row("u", "tag", 2)], STAMP)
    with pytest.raises(FencedOffError):
        old.commit_profiles([row("u", "tag", 9)], STAMP)
    assert client.hget(layout.profile_key("u"), "tag") == "2"
    new.commit_statistics(layout.TOTALS, "", {"read:view-events": "5"})
    with pytest.raises(FencedOffError):
        old.commit_statistics(layout.TOTALS, "", {"read:view-events": "4"})
    assert client.hget(layout.TOTALS, "read:view-events") == "5"


@in_each_way
def test_rescaled_job_fences_off_the_old_one(open_store: Callable[..., RedisStore]) -> None:
    """With another number of subtasks every writer of the old number is refused, whatever its place was."""
    old = [open_store(subtask, 2) for subtask in range(2)]
    new = open_store(0, 3)
    for store in old:
        with pytest.raises(FencedOffError):
            store.commit_profiles([row("u", "tag", 1)], STAMP)
    assert new.commit_profiles([row("u", "tag", 1)], STAMP) is None


@in_each_way
def test_two_writers_share_a_user(open_store: Callable[..., RedisStore], client: Any) -> None:
    """Two subtasks of one job each own some tags of a user, whichever of them opened first."""
    first, second = open_store(0, 2), open_store(1, 2)
    second.commit_profiles([row("u", "a", 1)], STAMP)
    first.commit_profiles([row("u", "b", 2)], STAMP)
    assert client.hgetall(layout.profile_key("u")) == {"a": "1", "b": "2"}


@in_each_way
def test_batch_of_older_weights_is_refused(way: str, open_store: Callable[..., RedisStore], client: Any) -> None:
    """Once newer weights are in force nothing scored with older ones gets in, and the answer names the newer."""
    store = open_store()
    key = layout.slot_writes_key(slot(layout.profile_key("u"))) if way == "cluster" else layout.WEIGHTS_IN_FORCE
    client.hset(key, mapping={"version": 11, "document": '{"view": 2}'})
    assert store.commit_profiles([row("u", "tag", 1)], STAMP) == WeightsStamp(11, '{"view": 2}')
    assert not client.exists(layout.profile_key("u"))
    assert store.commit_profiles([row("u", "tag", 2)], WeightsStamp(12, '{"view": 3}')) is None
    assert client.hget(key, "version") == "12"


@in_each_way
def test_epoch_rises_also_after_data_loss(open_store: Callable[..., RedisStore], client: Any) -> None:
    """Each writer's epoch is above all earlier ones, also when Redis has forgotten the last ones."""

    def epoch() -> int:
        return int(client.get(layout.WRITER_EPOCH) or 0)

    open_store()
    first = epoch()
    open_store()
    assert epoch() > first
    client.set(layout.WRITER_EPOCH, 3)
    open_store()
    assert epoch() >= first


@in_each_way
def test_running_writer_survives_an_emptied_redis(open_store: Callable[..., RedisStore], client: Any) -> None:
    """After FLUSHALL the writer that is there goes on."""
    store = open_store()
    client.flushall()
    assert store.commit_profiles([row("u", "tag", 1)], STAMP) is None


@in_each_way
def test_changes_are_announced(open_store: Callable[..., RedisStore], client: Any) -> None:
    """Statistics stand in the hash, and on the stream as JSON."""
    store = open_store()
    value = encoding.encode_product_statistics([1, 2, 3], 1_000, ["a", 'b"'])
    store.commit_statistics(layout.PRODUCT_STATISTICS, layout.PRODUCTS_CHANGED, {'p "1"': value})
    assert client.hgetall(layout.PRODUCT_STATISTICS) == {'p "1"': value}
    [(_, entry)] = client.xrange(layout.CHANGES)
    assert entry["kind"] == layout.PRODUCTS_CHANGED
    assert json.loads(entry["rows"]) == {'p "1"': [[1, 2, 3], 1_000, ["a", 'b"']]}


def test_scripts_survive_a_restarted_redis(open_store: Callable[..., RedisStore], client: Any) -> None:
    """A Redis that has forgotten the scripts is given them again."""
    store = open_store()
    client.script_flush()
    store.commit_statistics(layout.TOTALS, "", {"read:view-events": "1"})
    assert client.hget(layout.TOTALS, "read:view-events") == "1"


def test_what_was_in_doubt_cannot_come_late(open_store: Callable[..., RedisStore], client: Any) -> None:
    """When an answer got lost, the writer takes its place anew before it writes again; a newer writer's it leaves."""
    store = open_store()
    assert store.commit_profiles([row("u", "tag", 0)], STAMP) is None
    epoch = client.hget(layout.WRITER_FENCE, "test/1/0")
    client.client_kill_filter(skipme=True, _type="normal")
    assert store.commit_profiles([row("u", "tag", 1)], STAMP) is None
    assert int(client.hget(layout.WRITER_FENCE, "test/1/0") or 0) > int(epoch or 0)
    newer = open_store()
    client.client_kill_filter(skipme=True, _type="normal")
    with pytest.raises(FencedOffError):
        store.commit_profiles([row("u", "tag", 2)], STAMP)
    assert newer.commit_profiles([row("u", "tag", 3)], STAMP) is None
    assert client.hget(layout.profile_key("u"), "tag") == "3"


def test_other_writers_do_not_stop_a_batch(open_store: Callable[..., RedisStore], client: Any) -> None:
    """A transaction that was refused because something else at the watched keys moved is carried out again."""
    store = open_store()
    stopping = threading.Event()

    def meddle() -> None:
        with redis.Redis(**client.connection_pool.connection_kwargs) as other:
            while not stopping.is_set():
                other.hincrby(layout.WRITER_FENCE, "another/1/0")

    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        for number in range(200):
            assert store.commit_profiles([row("u", "tag", number)], STAMP) is None
    finally:
        stopping.set()
        meddler.join()
    assert client.hget(layout.profile_key("u"), "tag") == "199"


def test_figures_of_writers(open_store: Callable[..., RedisStore], client: Any) -> None:
    """Each writer notes its own, and those from when there was another number of subtasks go."""
    for subtask in range(2):
        open_store(subtask, 2).note_batch(3, time.monotonic(), np.array([time.time_ns() // 1_000_000]))
    assert sorted(client.hkeys(layout.WRITING)) == ["test/2/0", "test/2/1"]
    store = open_store(0, 1)
    assert client.hkeys(layout.WRITING) == []
    for _ in range(2):  # the second batch comes too soon after the first to be noted
        store.note_batch(700, time.monotonic(), np.array([1_000, time.time_ns() // 1_000_000 + 60_000]))
    figures = decode_figures(client.hget(layout.WRITING, "test/1/0") or "")
    assert [sum(of.counts) for _, of in figures.named()] == [1, 1, 1]
    assert figures.write_rows.total == 700


def test_refusal_for_good_fails_at_once(open_store: Callable[..., RedisStore], client: Any) -> None:
    """A key of another type isn't waited for; a Redis that is out of memory is."""
    store = open_store(patience=0.5)
    client.set(layout.profile_key("u"), "text")
    with pytest.raises(RedisRefusedError, match="WRONGTYPE"):
        store.commit_profiles([row("u", "tag", 1)], STAMP)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(RedisUnavailableError):
            store.commit_statistics(layout.TOTALS, "", {"read:view-events": "5"})
    finally:
        client.config_set("maxmemory", 0)
    store.commit_statistics(layout.TOTALS, "", {"read:view-events": "5"})


def test_patience_ends() -> None:
    """A Redis that stays away fails the batch after the time of patience, as the job's own error."""
    store = connected_store("redis://127.0.0.1:1/0", patience_seconds=0.2)
    with pytest.raises(RedisUnavailableError, match="Redis did not take the batch"):
        store.open("test", 1, 0)


def event_columns(rows: list[tuple[str, int, int, int, int, int, str, str | None]]) -> list[pd.Series]:
    """Rows as Flink gives them."""
    return [pd.Series(list(column), dtype=object) for column in zip(*rows, strict=True)]


@pytest.fixture
def recent_writer(open_store: Callable[..., RedisStore]) -> WriteRecentEvents:
    """A writer of three recent events a user, as it is after ``open``."""
    arguments = ["--kafka-bootstrap", "k:1", "--zookeeper-hosts", "z:1", "--redis-url", "redis://r"]
    writer: Any = WriteRecentEvents(parse_settings([*arguments, "--recent-events", "3"], {}))
    writer._store = open_store()
    return cast("WriteRecentEvents", writer)


@in_each_way
def test_recent_events_are_the_newest_in_whatever_order(recent_writer: WriteRecentEvents, client: Any) -> None:
    """Repeats, disorder and the size of batches change nothing; equal times are ordered by their text."""
    events = list(enumerate((50, 10, 40, 40, 20, 40, 60)))
    wanted = [("0:0:5:p", 40.0), ("0:0:0:p", 50.0), ("0:0:6:p", 60.0)]
    for order in (events, events[::-1], [*events[3:], *events, *events[:5]]):
        client.delete(layout.recent_key("u"))
        for size in (1, 2, len(order)):
            for start in range(0, len(order), size):
                some = order[start : start + size]
                rows = enumerate(some, start + 1)
                recent_writer.eval(
                    *event_columns([("u", turn, ms, 0, 0, offset, "p", None) for turn, (offset, ms) in rows])
                )
            assert client.zrange(layout.recent_key("u"), 0, -1, withscores=True) == wanted


@in_each_way
def test_arrivals_are_kept_for_a_while_and_are_bounded(recent_writer: WriteRecentEvents, client: Any) -> None:
    """Each with its number and its tags, whatever characters are in them."""
    product, tags = "p\x1f:;", ("\x1f", "plain")
    (escaped,) = escape_all([product])
    rows: list[Any] = [("a{b}", number, number, 1, 2, number, escaped, join_tags(tags)) for number in range(1, 501)]
    rows.append(("a{b}", 501, 501, 1, 2, 501, escaped, None))
    recent_writer.eval(*event_columns(rows))
    key = layout.arrivals_key("a{b}")
    found = [encoding.decode_arrival(value) for value in client.hvals(key)]
    assert sorted(each.number for each in found) == list(range(301, 501))
    assert all(each.event == f"1:2:{each.number}:{product}" and each.tags == tags for each in found)
    assert 0 < client.ttl(key) <= layout.ARRIVALS_SECONDS
    assert client.zrange(layout.recent_key("a{b}"), 0, -1)[-1] == f"1:2:501:{product}"


@in_each_way
def test_without_counts_by_product_profiles_are_written(open_store: Callable[..., RedisStore], client: Any) -> None:
    """A cap of 0 on products is that of who counts none."""
    store = open_store()
    store._caps = {TAGS: RowCap(10), ITEMS: RowCap(0)}
    assert store.commit_profiles([UserRows("u", ["a", "1,0,0;5"], ["a", "1"], ["p"])], WeightsStamp(1, "{}")) is None
    assert client.smembers(layout.purchased_key("u")) == {"p"}
