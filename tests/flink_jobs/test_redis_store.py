"""What the job writes to a real Redis, and who may not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import redis

from flink_jobs.errors import FencedOffError, RedisRefusedError, RedisUnavailableError
from flink_jobs.redis_store import RedisStore, UserRows, WeightsStamp
from reccore import layout

STAMP = WeightsStamp(10, '{"view": 1}')


@pytest.fixture
def open_store(redis_url: str) -> Iterator[Callable[..., RedisStore]]:
    """Make stores that have taken the place of a subtask, and close them at the end."""
    opened: list[RedisStore] = []

    def make(subtask: int = 0, subtasks: int = 1) -> RedisStore:
        store = RedisStore.connect(redis_url, patience_seconds=0.5)
        store.open("test", subtasks, subtask)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


def row(store: RedisStore, user_id: str, tag: str, count: int, as_of_ms: int = 1) -> UserRows:
    """One row as the job writes it."""
    return UserRows(user_id, as_of_ms, [tag, layout.encode_counts([count, 0, 0]), str(count)])


def test_profile_and_counts_are_written(open_store: Callable[..., RedisStore], client: redis.Redis) -> None:
    """Score and counts of a user's tags stand beside each other, with the newest event time."""
    store = open_store()
    users = [row(store, "a{b}c", "tag", 3, as_of_ms=50), row(store, "a{b}c", "other", 1, as_of_ms=20)]
    assert store.commit_profiles(users, STAMP) is None
    assert client.hgetall(layout.profile_key("a{b}c")) == {"tag": "3", "other": "1"}
    counts = layout.decode_user_counts(client.hgetall(layout.counts_key("a{b}c")))
    assert counts.as_of_ms == 50
    assert {tag: each.counts for tag, each in counts.tags.items()} == {"tag": (3, 0, 0), "other": (1, 0, 0)}


def test_many_rows_of_one_batch(open_store: Callable[..., RedisStore], client: redis.Redis) -> None:
    """A batch of thousands of rows, of many users and of one, is written whole."""
    store = open_store()
    crowd = [row(store, f"u{number}", "tag", number) for number in range(3_000)]
    triples = [text for n in range(1_000) for text in (f"t{n}", layout.encode_counts([n]), str(n))]
    store.commit_profiles([*crowd, UserRows("fan", 1, triples)], STAMP)
    assert client.hget(layout.profile_key("u2999"), "tag") == "2999"
    assert client.hlen(layout.profile_key("fan")) == 1_000


def test_older_writer_is_fenced_off(open_store: Callable[..., RedisStore], client: redis.Redis) -> None:
    """What a newer writer wrote stays, and the older one learns that it has to stop."""
    old = open_store()
    old.commit_profiles([row(old, "u", "tag", 1)], STAMP)
    new = open_store()
    new.commit_profiles([row(new, "u", "tag", 2)], STAMP)
    with pytest.raises(FencedOffError):
        old.commit_profiles([row(old, "u", "tag", 9)], STAMP)
    assert client.hget(layout.profile_key("u"), "tag") == "2"
    new.commit_statistics(layout.TOTALS, "", {"read:view-events": "5"})
    with pytest.raises(FencedOffError):
        old.commit_statistics(layout.TOTALS, "", {"read:view-events": "4"})
    assert client.hget(layout.TOTALS, "read:view-events") == "5"


def test_rescaled_job_fences_off_the_old_one(open_store: Callable[..., RedisStore]) -> None:
    """With another number of subtasks every writer of the old number is refused, whatever its place was."""
    old = [open_store(subtask, 2) for subtask in range(2)]
    new = open_store(0, 3)
    for store in old:
        with pytest.raises(FencedOffError):
            store.commit_profiles([row(store, "u", "tag", 1)], STAMP)
    assert new.commit_profiles([row(new, "u", "tag", 1)], STAMP) is None


def test_two_writers_share_a_user(open_store: Callable[..., RedisStore], client: redis.Redis) -> None:
    """Two subtasks of one job each own some tags of a user, whichever of them opened first."""
    first, second = open_store(0, 2), open_store(1, 2)
    second.commit_profiles([row(second, "u", "a", 1)], STAMP)
    first.commit_profiles([row(first, "u", "b", 2)], STAMP)
    assert client.hgetall(layout.profile_key("u")) == {"a": "1", "b": "2"}


def test_batch_of_older_weights_is_refused(open_store: Callable[..., RedisStore], client: redis.Redis) -> None:
    """Once newer weights are in force nothing scored with older ones gets in, and the answer names the newer."""
    store = open_store()
    client.hset(layout.WEIGHTS_IN_FORCE, mapping={"version": 11, "document": '{"view": 2}'})
    assert store.commit_profiles([row(store, "u", "tag", 1)], STAMP) == WeightsStamp(11, '{"view": 2}')
    assert not client.exists(layout.profile_key("u"))
    assert store.commit_profiles([row(store, "u", "tag", 2)], WeightsStamp(12, '{"view": 3}')) is None
    assert client.hget(layout.WEIGHTS_IN_FORCE, "version") == "12"


def test_epoch_rises_also_after_data_loss(open_store: Callable[..., RedisStore], client: redis.Redis) -> None:
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


def test_running_writer_survives_an_emptied_redis(open_store: Callable[..., RedisStore], client: redis.Redis) -> None:
    """After FLUSHALL the writer that is there goes on."""
    store = open_store()
    client.flushall()
    assert store.commit_profiles([row(store, "u", "tag", 1)], STAMP) is None


def test_changes_are_announced(open_store: Callable[..., RedisStore], client: redis.Redis) -> None:
    """Statistics stand in the hash, and on the stream as JSON."""
    store = open_store()
    value = layout.encode_product_statistics([1, 2, 3], 1_000, ["a", 'b"'])
    store.commit_statistics(layout.PRODUCT_STATISTICS, layout.PRODUCTS_CHANGED, {'p "1"': value})
    assert client.hgetall(layout.PRODUCT_STATISTICS) == {'p "1"': value}
    [(_, entry)] = client.xrange(layout.CHANGES)
    assert entry["kind"] == layout.PRODUCTS_CHANGED
    assert json.loads(entry["rows"]) == {'p "1"': [[1, 2, 3], 1_000, ["a", 'b"']]}


def test_purchases_are_a_set(open_store: Callable[..., RedisStore], client: redis.Redis) -> None:
    """Adding a purchase again changes nothing."""
    store = open_store()
    for _ in range(2):
        store.add_purchases({"u": {"p", "q"}})
    assert client.smembers(layout.purchased_key("u")) == {"p", "q"}


def test_scripts_survive_a_restarted_redis(open_store: Callable[..., RedisStore], client: redis.Redis) -> None:
    """A Redis that has forgotten the scripts is given them again."""
    store = open_store()
    store.commit_profiles([row(store, "u", "tag", 1)], STAMP)
    client.script_flush()
    assert store.commit_profiles([row(store, "u", "tag", 2)], STAMP) is None


def test_refusal_for_good_fails_at_once(open_store: Callable[..., RedisStore], client: redis.Redis) -> None:
    """A key of another type isn't waited for; a Redis that is out of memory is."""
    store = open_store()
    client.set(layout.profile_key("u"), "text")
    with pytest.raises(RedisRefusedError, match="WRONGTYPE"):
        store.commit_profiles([row(store, "u", "tag", 1)], STAMP)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(RedisUnavailableError):
            store.commit_statistics(layout.TOTALS, "", {"read:view-events": "5"})
    finally:
        client.config_set("maxmemory", 0)
    store.commit_statistics(layout.TOTALS, "", {"read:view-events": "5"})


def test_patience_ends() -> None:
    """A Redis that stays away fails the batch after the time of patience, as the job's own error."""
    store = RedisStore.connect("redis://127.0.0.1:1/0", patience_seconds=0.2)
    with pytest.raises(RedisUnavailableError, match="Redis did not take the batch"):
        store.open("test", 1, 0)
