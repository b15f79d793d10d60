"""Models in a real Redis: switched at once, by one of several publishers, and followed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import duckdb
import pytest
import redis

from deploy.local import Stack
from reccore import layout
from recsvc.errors import BrokenModel, NotPublished, StoreUnavailable
from recsvc.models.feed import ModelFeed
from recsvc.models.model import Model
from recsvc.models.store import ModelStore
from reweigh.databases import Databases
from reweigh.verify.stored import Stored
from tests.models.making import made_up
from tests.models.test_encoding import same
from tests.waiting import wait_until


@pytest.fixture
def store(stack: Stack, database: Any) -> Iterator[ModelStore]:
    """Models of the empty database, in chunks of 1,000 bytes."""
    with closing(ModelStore(stack.addresses.redis_url, chunk_bytes=1_000)) as found:
        yield found


def models_in(database: Any) -> set[int]:
    """Versions of which anything is there."""
    keys = [key.split(":") for key in database.scan_iter("model:*")]
    return {int(parts[1]) for parts in keys if len(parts) == 4}


def test_published_and_loaded(store: ModelStore, database: Any) -> None:
    """What was published is read back; the version before stays, an older one doesn't, and nothing expires."""
    assert store.current() == {}
    for number in range(1, 5):
        model = made_up(seed=number)
        assert store.publish(model).version == number
        current = store.current()
        assert (current["version"], current["products"]) == (str(number), "60")
        assert json.loads(current["training"]) == model.training
        loaded = store.load(current)
        assert same(loaded, model)
        assert loaded.version == number
        assert models_in(database) == {number, number - 1} - {0}
    assert set(database.hkeys(layout.MODEL_BLOBS)) == {"3", "4"}
    assert all(database.ttl(key) == -1 for key in database.scan_iter("model:*"))


def test_nothing_is_seen_before_all_of_it_is_there(
    store: ModelStore, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever a publisher stops on its way, the model before is applied and whole, and what is left expires."""
    store.publish(made_up(seed=1))
    write = ModelStore._store
    for most in (0, 1, 5):
        done = iter(range(most))

        def fail(self: ModelStore, key: str, part: bytes, done: Any = done) -> None:
            if next(done, None) is None:
                raise StoreUnavailable("gone")
            write(self, key, part)

        monkeypatch.setattr(ModelStore, "_store", fail)
        with pytest.raises(StoreUnavailable):
            store.publish(made_up(seed=2))
        assert same(store.load(store.current()), made_up(seed=1))
    left = [key for key in database.scan_iter("model:*") if key.count(":") == 3 and not key.startswith("model:1:")]
    assert len(left) == 6
    assert all(database.ttl(key) > 0 for key in left)
    monkeypatch.setattr(ModelStore, "_store", write)
    assert store.publish(made_up(seed=3)).version == 5
    assert models_in(database) == {1, 5}


def test_of_two_publishers_the_later_one_wins(
    store: ModelStore, stack: Stack, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was overtaken is told so, and leaves nothing."""
    write, models = ModelStore._store, [made_up(seed=1), made_up(seed=2)]
    with closing(ModelStore(stack.addresses.redis_url)) as other:

        def overtaken(self: ModelStore, key: str, part: bytes) -> None:
            monkeypatch.setattr(ModelStore, "_store", write)
            assert other.publish(models[1]).version == 2
            write(self, key, part)

        monkeypatch.setattr(ModelStore, "_store", overtaken)
        with pytest.raises(NotPublished, match="version 2 is newer"):
            store.publish(models[0])
    assert same(store.load(store.current()), models[1])
    assert models_in(database) == {2}


def test_publishers_at_once(stack: Stack, database: Any) -> None:
    """Four of them, again and again: what is applied at the end is whole, and little is left of the rest."""

    def publish(seed: int) -> int:
        with closing(ModelStore(stack.addresses.redis_url, chunk_bytes=3_000)) as own:
            try:
                return own.publish(replace(made_up(seed=seed), training={"seed": seed})).version
            except NotPublished:
                return 0

    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(publish, range(24)))
    with closing(ModelStore(stack.addresses.redis_url)) as store:
        model = store.load(store.current())
    assert model.version == max(versions) == 24
    assert same(model, replace(made_up(seed=versions.index(24)), training=model.training))
    assert len(database.hkeys(layout.MODEL_BLOBS)) <= 2


def test_parts_that_are_gone(store: ModelStore, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is emptied meanwhile gets no pointer to nothing."""
    switch = ModelStore._switch

    def emptied(self: ModelStore, *arguments: Any) -> int:
        database.flushdb()
        return switch(self, *arguments)

    monkeypatch.setattr(ModelStore, "_switch", emptied)
    with pytest.raises(NotPublished, match="gone from Redis"):
        store.publish(made_up())
    assert store.current() == {}


DAMAGE: list[Callable[[redis.Redis], object]] = [
    lambda client: client.delete("model:2:factors:0"),
    lambda client: client.set("model:2:factors:0", "x"),
    lambda client: client.hset(layout.MODEL_CURRENT, "blobs", "nothing"),
    lambda client: client.hset(layout.MODEL_CURRENT, "blobs", '{"header": 100000}'),
    lambda client: client.hset(layout.MODEL_CURRENT, "version", "two"),
    lambda client: client.set("model:2:header:0", json.dumps({"format": 99})),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_broken_model_is_refused(
    store: ModelStore, stack: Stack, database: Any, damage: Callable[[redis.Redis], object]
) -> None:
    """The last good one stays, which is logged once; the next good one is taken."""
    feed = ModelFeed(store)
    store.publish(made_up(seed=1))
    feed.refresh()
    good = feed.scorer
    with closing(ModelStore(stack.addresses.redis_url)) as whole:
        whole.publish(made_up(seed=2))
        damage(database)
        with pytest.raises(BrokenModel):
            store.load(store.current())
        with Logged() as logged:
            for _ in range(3):
                feed.refresh()
        assert [record.levelname for record in logged.records] == ["ERROR"]
        assert feed.scorer is good
        assert good is not None
        assert good.model.version == 1
        database.hset(layout.MODEL_CURRENT, "version", 2)  # or the next publisher would refuse it as it does
        version = whole.publish(made_up(seed=3)).version
        feed.refresh()
    assert feed.scorer is not None
    assert feed.scorer.model.version == version


def version_of(feed: ModelFeed) -> int | None:
    """Of the model that is served; None: there is none."""
    return None if feed.scorer is None else feed.scorer.model.version


class Logged(logging.Handler):
    """What the feed logs."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.records.append(record)

    def __enter__(self) -> Logged:
        logging.getLogger("recsvc.models.feed").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("recsvc.models.feed").removeHandler(self)


def test_the_feed_follows(stack: Stack, database: Any) -> None:
    """A thread notices each new model; a model is swapped as one, and an emptied Redis takes none away."""
    feed = ModelFeed(ModelStore(stack.addresses.redis_url), poll_seconds=0.02)
    with closing(ModelStore(stack.addresses.redis_url)) as store:
        feed.start()
        try:
            wait_until(lambda: feed.loaded)
            assert version_of(feed) is None
            for seed in (1, 2):
                published = store.publish(made_up(seed=seed))
                wait_until(lambda: version_of(feed) == published.version)  # noqa: B023
                assert feed.scorer is not None
                assert same(feed.scorer.model, published)
            database.flushdb()
            again: Model = store.publish(made_up(seed=3))  # version 1 once more, of another time
            assert again.version == 1
            wait_until(lambda: feed.scorer is not None and same(feed.scorer.model, again))
        finally:
            feed.stop()


def test_redis_away() -> None:
    """Nothing is known and nothing fails; it is logged once."""
    feed = ModelFeed(ModelStore("redis://127.0.0.1:1/0"))
    with Logged() as logged:
        feed.refresh()
        feed.refresh()
    assert [record.levelname for record in logged.records] == ["WARNING"]
    assert (feed.scorer, feed.loaded) == (None, False)
    feed.stop()


def test_a_rebuild_takes_the_models_along(store: ModelStore, stack: Stack, database: Any) -> None:
    """After the exchange of databases the same model is applied; models are no part of what is compared."""
    for seed in (1, 2, 3):
        store.publish(made_up(seed=seed))
    databases = Databases(stack.addresses.redis_url)
    try:
        databases.prepare()
        databases.copy_what_is_kept()
        store.publish(made_up(seed=4))
        databases.copy_what_is_kept()
        assert not [key for key, _, _ in databases.pairs() if layout.is_model_key(key)]
        databases.swap()
    finally:
        databases.close()
    assert same(store.load(store.current()), made_up(seed=4))
    assert models_in(database) == {3, 4}
    assert store.publish(made_up(seed=5)).version == 5


def test_verify_knows_the_keys(store: ModelStore, stack: Stack) -> None:
    """They are nothing unexpected."""
    store.publish(made_up())
    stored, tables = Stored(stack.addresses.redis_url), duckdb.connect()
    try:
        stored.read_into(tables, lambda _done, _total: None)
        assert tables.sql("SELECT * FROM stored_others").fetchall() == []
    finally:
        stored.close()
        tables.close()
