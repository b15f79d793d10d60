"""What job, service, sweeper and commands do has to come to the same on one server, behind Sentinel, on a cluster."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import duckdb
import pytest

from deploy.local.ports import HOST
from flink_jobs.connected_store import connected_store
from flink_jobs.crowded_users import ITEMS, TAGS
from flink_jobs.redis_store import RedisStore, WeightsStamp
from flink_jobs.user_rows import UserRows
from reccore import encoding, layout
from reccore.event_types import EventTypes
from reccore.row_cap import RowCap
from reccore.scoring import format_score, score
from reccore.weights import Weights
from recsvc.models.store import ModelStore
from recsvc.statistics_feed import StatisticsFeed
from recsvc.stored_figures import StoredFiguresReader
from recsvc.stored_metrics import StoredCollector
from recsvc.sweep import ScoreSweep
from recsvc.totals_reader import TotalsReader
from recsvc.user_store import RedisUserStore
from recsvc.weights_record import read_weights_record
from redisaccess.cluster import ClusterClient
from redisaccess.scanning import pages_of_keys
from reweigh.beside import sides_of
from reweigh.catalog import remove_products, store_products
from reweigh.databases import Databases
from reweigh.doctor import check_redis
from reweigh.errors import CommandError
from reweigh.features import Features
from reweigh.products import CatalogProduct
from reweigh.verify.stored import Stored
from tests.models.making import made_up
from tests.redis_modes import Ground
from tests.waiting import wait_until

TYPES = EventTypes.from_settings({})
STAMP = WeightsStamp(10, '{"view":1,"add_to_cart":3,"purchase":5}')
OLD = (1.0, 3.0, 5.0)
NEW = Weights(TYPES.names, (2.0, 0.5, 7.0))
USERS = [f"u{number}" for number in range(60)] + ["a{b}c", "{x}", "ü"]


def rows_of(user_id: str, counts: dict[str, tuple[int, ...]], values: tuple[float, ...] = OLD) -> UserRows:
    """What the job writes for one user, tags and products alike."""
    rows = [text for tag, each in counts.items() for text in (tag, encoding.encode_counts(each, 7))]
    scores = [text for tag, each in counts.items() for text in (tag, format_score(score(each, values)))]
    items = [text for tag in counts for text in (f"p-{tag}", "1,0,0;7")]
    return UserRows(user_id, rows, scores, ["bought"], items)


@pytest.fixture
def store(ground: Ground, client: Any) -> Iterator[RedisStore]:
    """The job's store, which has taken its place."""
    with closing(connected_store(ground.url, patience_seconds=30)) as made:
        made.open("test", 1, 0)
        yield made


def test_the_service_reads_what_the_job_writes(ground: Ground, store: RedisStore, client: Any) -> None:
    """One user, many at once, recent events, users drawn at random."""
    users = [rows_of(user, {"tag": (number, 1, 0)}) for number, user in enumerate(USERS)]
    assert store.commit_profiles(users, STAMP) is None
    store.commit([("ZADD", layout.recent_key(user), "5", "0:0:1:p") for user in USERS])
    service = RedisUserStore(ground.url, timeout_ms=5_000)
    service.start()
    try:
        assert service.user("u3", items=True).rows == {"tag": "3,1,0;7"}
        assert service.user("u3", items=True).items == {"p-tag": "1,0,0;7"}
        assert [each.rows["tag"] for each in service.users(USERS)] == [f"{n},1,0;7" for n in range(len(USERS))]
        assert all(each.purchased == {"bought"} for each in service.users(USERS))
        assert service.histories(USERS, 9, 5) == [[("0:0:1:p", 5)]] * len(USERS)
        assert set(service.some_users(2_000)) <= set(USERS)
        assert service.some_users(2_000)  # few on a cluster, most of whose keys are those of the slots
        assert [dict(each) for each in service.counts(["nobody", "ü"])] == [{}, {"tag": "62,1,0;7"}]
    finally:
        service.stop()


def test_the_cap_holds(ground: Ground, client: Any) -> None:
    """Of crowded users what is beyond goes from both hashes, and is counted."""
    caps = {TAGS: RowCap(2), ITEMS: RowCap(1)}
    with closing(connected_store(ground.url, patience_seconds=30, caps=caps)) as made:
        made.open("test", 1, 0)
        many: dict[str, tuple[int, ...]] = {"a": (3, 0, 0), "b": (2, 0, 0), "c": (1, 0, 0)}
        made.commit_profiles([rows_of(user, many) for user in USERS], STAMP)
    for user in USERS:
        assert client.hgetall(layout.profile_key(user)) == {"a": "3", "b": "2"}
        assert client.hlen(layout.items_key(user)) == 1
    assert (client.get(layout.DROPPED_TAGS), client.get(layout.DROPPED_ITEMS)) == ("63", "126")


def test_the_sweep_reaches_everybody_beside_a_writer(ground: Ground, store: RedisStore, client: Any) -> None:
    """After a change of the weights all scores are of the new ones and of the newest counts, whoever wrote last."""
    store.commit_profiles([rows_of(user, {"tag": (1, 1, 1)}) for user in USERS], STAMP)
    counted = dict.fromkeys(USERS, 1)
    written = threading.Event()

    def write() -> None:
        chance, used = random.Random(5), STAMP
        for _ in range(60):
            some = chance.sample(USERS, 5)
            counted.update({user: counted[user] + 1 for user in some})
            while True:
                values = OLD if used is STAMP else NEW.values
                newer = store.commit_profiles([rows_of(u, {"tag": (counted[u], 1, 1)}, values) for u in some], used)
                if newer is None:
                    break
                used = newer
        written.set()

    writer = threading.Thread(target=write)
    sweep = ScoreSweep(client, sleep=lambda _: None)
    with closing(sweep):
        writer.start()
        assert sweep.raise_version(11, NEW) == 11
        done = sweep.run(11, NEW)
        writer.join()
        assert written.is_set()
        assert (done.complete, done.users) == (True, len(USERS))
        sweep.mark_swept(11)
        assert sweep.record().swept == 11
        assert not sweep.run(10, NEW).complete  # an older version writes nothing
    for user in USERS:
        wanted = format_score(score((counted[user], 1, 1), NEW.values))
        assert client.hgetall(layout.profile_key(user)) == {"tag": wanted}
    assert read_weights_record(ground.url, timeout_ms=5_000)["version"] == "11"


def test_everybodys_statistics(ground: Ground, store: RedisStore, client: Any) -> None:
    """Statistics, totals and the catalogue arrive in the service; the job sees each change of the catalogue."""
    feed, totals = StatisticsFeed(ground.url, width=3), TotalsReader(ground.url, timeout_ms=5_000)
    feed.start()
    try:
        wait_until(lambda: feed.loaded)
        row = encoding.encode_product_statistics((1, 2, 3), 7, ["learned"])
        store.commit_statistics(layout.PRODUCT_STATISTICS, layout.PRODUCTS_CHANGED, {"p1": row})
        store.commit_statistics(layout.TOTALS, "", {"read:view-events": "5"})
        wait_until(lambda: feed.snapshot.structure.ids == ("p1",))
        product = CatalogProduct(product_id="p1", name="One", tags=("given",), price=None, category=None)
        assert store_products(iter([product]), client) == (1, 0)
        wait_until(lambda: "p1" in feed.snapshot.described)
        first, rows = store.read_catalogue(["p1", "p2"])
        assert '"given"' in (rows[0] or "")
        assert rows[1] is None
        remove_products(["p1"], client)
        version, rows = store.read_catalogue(["p1"])
        assert (int(version) > int(first), rows) == (True, [None])
        read = totals.read()
        assert read is not None
        assert read.records_in == 5
    finally:
        feed.stop()
        totals.stop()


def test_models_are_published_and_loaded(ground: Ground, client: Any) -> None:
    """Chunks, pointer, and what is left of the versions before."""
    with closing(ModelStore(ground.url, chunk_bytes=3_000)) as models:
        for _ in range(3):
            published = models.publish(made_up())
        loaded = models.load(models.current())
        assert (published.version, loaded.version) == (3, 3)
        assert loaded.product_ids == made_up().product_ids
    assert set(client.hkeys(layout.MODEL_BLOBS)) == {"2", "3"}


def test_commands(ground: Ground, store: RedisStore, client: Any) -> None:
    """Verify and features read all users; the doctor sets a key."""
    store.commit_profiles([rows_of(user, {"tag": (1, 0, 0)}) for user in USERS], STAMP)
    assert check_redis(ground.url)
    with closing(Stored(ground.url)) as stored, duckdb.connect() as database:
        stored.read_into(database, lambda _read, _of: None)
        for table in ("stored_counts", "stored_scores", "stored_items", "stored_purchases"):
            found = database.table(table).project("user_id").distinct().fetchall()
            assert {user for (user,) in found} == set(USERS)
        assert database.execute("SELECT * FROM stored_others").fetchall() == []
    with closing(Features(ground.url, TYPES)) as features:
        assert set(features.table()["user_id"].to_pylist()) == set(USERS)


def test_metrics(ground: Ground, store: RedisStore, client: Any) -> None:
    """Keys and bytes of each master, users of all of them, how writing goes, what verify has found."""
    store.commit_profiles([rows_of(user, {"tag": (1, 0, 0)}) for user in USERS], STAMP)
    store.note_batch(7, 0.0)
    with closing(Stored(ground.url)) as stored:
        stored.note_outcome(3, 90, 5)
    reader = StoredFiguresReader(ground.url, timeout_ms=5_000)
    try:
        families = {each.name: each.samples for each in StoredCollector(reader.read).collect()}
    finally:
        reader.stop()
    cluster = {f"{HOST}:{each.port}" for each in ground.servers} if isinstance(client, ClusterClient) else {""}
    keys = {sample.labels["node"]: sample.value for sample in families["reweigh_redis_keys"]}
    assert set(keys) == {sample.labels["node"] for sample in families["reweigh_redis_used_bytes"]} == cluster
    assert sum(keys.values()) == sum(len(page) for page in pages_of_keys(client, count=1_000))
    assert all(sample.value > 100_000 for sample in families["reweigh_redis_used_bytes"])
    (users,) = families["reweigh_users_estimated"]
    assert users.value < 20 * len(USERS)  # on a cluster most keys are those of the slots, and few users are drawn
    (differences,) = families["reweigh_verify_differences"]
    assert differences.value == 3
    assert {"writer": "test/1/0"} in [sample.labels for sample in families["reweigh_redis_write_rows"]]


def test_what_a_cluster_can_not(ground: Ground, client: Any) -> None:
    """A command says so at once; where there are databases, it goes on."""
    if not ground.url.startswith("redis+cluster"):
        with closing(Databases(ground.url)) as databases:
            databases.prepare()
            databases.beside.set("new", 1)
            databases.swap()
        assert client.get("new") == "1"
        with pytest.raises(CommandError, match="--namespace trial: only a Redis Cluster has namespaces"):
            sides_of(ground.url, namespace="trial")
        return
    with pytest.raises(CommandError, match="--database 1: a Redis Cluster has one database only"):
        sides_of(ground.url, database=1)
