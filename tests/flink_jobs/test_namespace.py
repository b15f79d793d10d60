"""The job's store on a cluster, beside the live keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flink_jobs.connected_store import connected_store
from flink_jobs.crowded_users import ITEMS, TAGS
from flink_jobs.errors import FencedOffError
from flink_jobs.redis_store import RedisStore, WeightsStamp
from flink_jobs.settings import parse_settings
from flink_jobs.user_rows import UserRows
from reccore import encoding, layout
from reccore.namespaces import LIVE, Namespace
from reccore.row_cap import RowCap
from redisaccess.scanning import pages_of_keys

STAMP = WeightsStamp(10, '{"view": 1}')
BESIDE = Namespace("trial")
CAP = RowCap(3)
PLACES = ["--kafka-bootstrap", "h:1", "--zookeeper-hosts", "h:2"]
in_a_cluster = pytest.mark.parametrize("way", ["cluster"], indirect=True)


@pytest.fixture
def beside(redis_url: str) -> Iterator[RedisStore]:
    """A store of a namespace, which has taken a place."""
    store = connected_store(redis_url, patience_seconds=5, caps={TAGS: CAP, ITEMS: CAP}, namespace=BESIDE)
    store.open("test", 1, 0)
    yield store
    store.close()


def row(user_id: str, tags: int, count: int) -> UserRows:
    """What is written for a user who has so many tags."""
    counts = [text for n in range(tags) for text in (f"t{n}", encoding.encode_counts([count, 0, 0], 1))]
    return UserRows(user_id, counts, [text for n in range(tags) for text in (f"t{n}", str(count))], ["p"])


def stored(client: Any) -> set[str]:
    """All keys but those that bind writes."""
    return {key for page in pages_of_keys(client, count=1_000) for key in page if not key.endswith(":writes")}


@in_a_cluster
def test_it_writes_beside_the_live_keys(beside: RedisStore, open_store: Callable[..., RedisStore], client: Any) -> None:
    """All that the live store writes, the cap and the figures included, and the live keys stay as they are."""
    users = [row(user, 5, 2) for user in ("ann", "a{b}c", "bob")]
    live = open_store(cap=CAP)
    assert live.commit_profiles([row(each.user_id, 5, 1) for each in users], STAMP) is None
    assert beside.commit_profiles(users, STAMP) is None
    for store, count in ((live, 1), (beside, 2)):
        store.commit_statistics(layout.TAG_STATISTICS, layout.TAGS_CHANGED, {"t0": f"[[{count},0,0],1]"})
        store.note_batch(15, 0.0)
    client.set(layout.CATALOG_VERSION, 7)
    assert beside.read_catalogue([]) == ("7", [])
    for name, text in ((LIVE.key, "1"), (BESIDE.key, "2")):
        for each in users:
            scores = client.hgetall(name(layout.profile_key(each.user_id)))
            assert scores == dict.fromkeys(("t0", "t1", "t2"), text)
            assert client.hlen(name(layout.counts_key(each.user_id))) == 3
            assert client.smembers(name(layout.purchased_key(each.user_id))) == {"p"}
        assert client.get(name(layout.DROPPED_TAGS)) == "6"
        assert client.hget(name(layout.TAG_STATISTICS), "t0") == f"[[{text},0,0],1]"
        assert client.xlen(name(layout.CHANGES)) == 1
        assert client.hkeys(name(layout.WRITING)) == ["test/1/0"]
    own = {BESIDE.key(key) for key in stored(client) - {layout.CATALOG_VERSION, layout.WRITER_EPOCH}}
    assert own >= {key for key in stored(client) if key.startswith("rebuilt:")}


@in_a_cluster
def test_places_are_its_own(redis_url: str, beside: RedisStore, open_store: Callable[..., RedisStore]) -> None:
    """It fences off nobody who writes the live keys, only who had its own place before."""
    live = open_store()
    newer = connected_store(redis_url, patience_seconds=5, namespace=BESIDE)
    newer.open("test", 1, 0)
    assert live.commit_profiles([row("ann", 1, 1)], STAMP) is None
    assert newer.commit_profiles([row("ann", 1, 1)], STAMP) is None
    with pytest.raises(FencedOffError):
        beside.commit_profiles([row("ann", 1, 2)], STAMP)
    newer.close()


def test_one_server_has_none(redis_url: str) -> None:
    """It has databases."""
    with pytest.raises(ValueError, match="only a Redis Cluster has namespaces"):
        connected_store(redis_url, patience_seconds=5, namespace=BESIDE)


def test_the_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """It is read, and refused where it can't be."""
    on_cluster = [*PLACES, "--redis-url", "redis+cluster://h:3"]
    assert parse_settings(on_cluster, {}).redis_namespace == ""
    assert parse_settings([*on_cluster, "--redis-namespace", "trial"], {}).redis_namespace == "trial"
    for options, problem in (
        ([*on_cluster, "--redis-namespace", "A:b"], "allowed: 1 to 32"),
        ([*PLACES, "--redis-url", "redis://h:3", "--redis-namespace", "trial"], "only a Redis Cluster"),
    ):
        with pytest.raises(SystemExit):
            parse_settings(options, {})
        assert problem in capsys.readouterr().err
