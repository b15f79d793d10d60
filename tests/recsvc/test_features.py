"""Features of users: over HTTP of one, in Python and in a file of everybody."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis

from deploy.local.stack import Stack
from reccore import encoding, layout
from reccore.canary import CANARY
from reccore.errors import SettingError
from reccore.event_types import EventTypes
from reccore.metadata_numbers import MetadataNumbers
from recsvc.settings import settings_from
from recsvc.user_store import RedisUserStore, StoredUser
from reweigh.cli import main
from reweigh.errors import CommandError
from reweigh.features import Features
from tests.recsvc.conftest import Bench

NUMBERS = MetadataNumbers(("duration_ms", "scroll"))
ITEMS = {
    "lamp": encoding.encode_item("3,1,0;1000", [(4_500_000, 3), (0, 0)]),
    "sofa": encoding.encode_item("1,0,2;2000;;9", [(0, 0), (2_500, 2)]),
    "rare": "0,2,0;500",
}
CATALOGUE: dict[str, dict[str, Any]] = {
    "lamp": {"category": "home"},
    "sofa": {"category": "home", "tags": []},
    "desk": {"category": "office"},
}
PRODUCTS: dict[str, dict[str, Any]] = {
    "lamp": {"user_product_views": 3, "user_product_purchases": 0, "user_product_avg_time": 1500.0},
    "rare": {"user_product_views": 0, "user_product_purchases": 0, "user_product_avg_time": None},
    "sofa": {"user_product_views": 1, "user_product_purchases": 2, "user_product_avg_time": None},
}
SCROLL = {"lamp": None, "rare": None, "sofa": 1.25}
HOME = {"user_category_views": 4, "user_category_purchases": 2}


def test_of_one_user(bench: Bench) -> None:
    """Averages are of the events that carry the number; products without a category are in none."""
    bench.users.users["a/b"] = StoredUser({}, frozenset(), items=ITEMS)
    bench.users.products = {
        "lamp": (None, json.dumps({"attributes": {"brand": "acme", "watts": 5}})),
        "sofa": (None, json.dumps({"attributes": {"brand": 7}})),
        "rare": (None, json.dumps({"description": "x", "attributes": None})),
    }
    bench.statistics.collected.put_catalog(CATALOGUE)
    bench.statistics.publish()
    answer = bench.http.get("/features/a/b").json
    assert answer == {
        "user_id": "a/b",
        "degraded": False,
        "user_last_interaction": "1970-01-01T00:00:02.000Z",
        "products": {name: {**each, "user_product_avg_scroll": SCROLL[name]} for name, each in PRODUCTS.items()},
        "categories": {"home": HOME},
        "attributes": {
            "brand": {
                "7": {"user_brand_views": 1, "user_brand_purchases": 2},
                "acme": {"user_brand_views": 3, "user_brand_purchases": 0},
            }
        },
    }


def test_of_an_unknown_user_and_without_redis(bench: Bench) -> None:
    """Nothing is known: no error; without Redis that is said."""
    empty: dict[str, Any] = {"user_id": "new", "user_last_interaction": None, "products": {}, "categories": {}}
    answer = bench.http.get("/features/new").json
    assert answer == {**empty, "degraded": False, "attributes": {"brand": {}}}
    bench.users.up = False
    assert bench.http.get("/features/new").json == {**answer, "degraded": True}


def test_expired_products_are_left_out(bench: Bench) -> None:
    """As expired tags are; the bench forgets after 100 s, and it is second 1,000."""
    bench.users.users["u"] = StoredUser({}, frozenset(), items={"old": "1,0,0;5;899", "new": "1,0,0;4;901"})
    answer = bench.http.get("/features/u").json
    assert list(answer["products"]) == ["new"]
    assert answer["user_last_interaction"] == "1970-01-01T00:00:00.004Z"


@pytest.fixture
def stored(database: redis.Redis) -> redis.Redis:
    """Two users and a catalogue in Redis."""
    for user in ("ann", "b{o}b"):
        database.hset(layout.items_key(user), mapping=ITEMS if user == "ann" else {"desk": "1,0,0;7"})
    database.hset(layout.CATALOG, mapping={name: json.dumps(each) for name, each in CATALOGUE.items()})
    database.hset(layout.CATALOG_DETAILS, "lamp", "{}")
    return database


def rows(table: pa.Table) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows by user and product."""
    return {(each.pop("user_id"), each.pop("product_id")): each for each in table.to_pylist()}


def test_of_many_users(stored: redis.Redis, stack: Stack) -> None:
    """The same as over HTTP, a row for each user and product, of everybody or of some; the canary is nobody."""
    stored.hset(layout.items_key(CANARY), CANARY, encoding.encode_item("1,0,0;1", ()))
    with closing(Features(stack.env["REDIS_URL"], EventTypes.from_settings({}), numbers=NUMBERS)) as features:
        found = rows(features.table())
        assert set(found) == {("ann", "lamp"), ("ann", "rare"), ("ann", "sofa"), ("b{o}b", "desk")}
        for name, of_product in PRODUCTS.items():
            row = found["ann", name]
            assert {key: row[key] for key in of_product} == of_product
            assert row["user_product_avg_scroll"] == SCROLL[name]
            assert row["user_last_interaction"].timestamp() == 2
            assert row["user_category_views"] == (None if name == "rare" else 4)
        assert found["b{o}b", "desk"]["category"] == "office"
        assert set(rows(features.table(["b{o}b", "nobody"]))) == {("b{o}b", "desk")}
        assert features.table([]).schema == features.schema


def test_by_attributes_of_products(stored: redis.Redis, stack: Stack) -> None:
    """Each value of an attribute that is asked for is a group as a category is; products without it are in none."""
    for product, attributes in (("lamp", {"brand": "acme", "led": True}), ("sofa", {"brand": "acme"})):
        stored.hset(layout.CATALOG_DETAILS, product, json.dumps({"attributes": attributes}))
    chosen: dict[str, Any] = {"numbers": NUMBERS, "attributes": ("brand", "led")}
    with closing(Features(stack.env["REDIS_URL"], EventTypes.from_settings({}), **chosen)) as features:
        found = rows(features.table(["ann"]))
    lamp, sofa, rare = (found["ann", product] for product in ("lamp", "sofa", "rare"))
    assert (lamp["attribute_brand"], lamp["attribute_led"], sofa["attribute_led"]) == ("acme", "true", None)
    views = [row["user_product_views"] for row in (lamp, sofa)]
    assert lamp["user_brand_views"] == sofa["user_brand_views"] == sum(views)
    assert lamp["user_led_views"] == views[0]
    assert {rare[name] for name in rare if "brand" in name} == {None}
    with pytest.raises(CommandError, match="category"):
        Features(stack.env["REDIS_URL"], EventTypes.from_settings({}), attributes=("category",))


@pytest.mark.usefixtures("stored")
def test_into_a_file(stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`reweigh features` writes everybody's."""
    env, file = tmp_path / "env", tmp_path / "features.parquet"
    env.write_text(f"REDIS_URL={stack.env['REDIS_URL']}\nMETADATA_NUMBERS=duration_ms,scroll\n")
    assert main(["features", str(file), "--env", str(env)]) == 0
    assert "4 rows of 2 users" in capsys.readouterr().out
    assert len(pq.ParquetFile(file).read()) == 4


def test_the_store_reads_them(stored: redis.Redis, stack: Stack) -> None:
    """The one in memory is held to the same by the tests above."""
    store = RedisUserStore(stack.env["REDIS_URL"], timeout_ms=2_000)
    assert store.items("ann") == ITEMS == store.user("ann", items=True).items
    assert store.user("ann").items == store.items("nobody") == {}
    assert store.details(["lamp", "sofa"]) == ["{}", None]


def test_without_a_redis_the_command_says_so() -> None:
    """A clear error."""
    with pytest.raises(CommandError, match="can't be read"):
        Features("redis://127.0.0.1:1/0", EventTypes.from_settings({})).table()


@pytest.mark.parametrize("given", ["a b", "product", ",".join(f"a{n}" for n in range(17)), "x" * 33])
def test_wrong_names_of_attributes_are_refused(given: str) -> None:
    """``product`` would take the name of another feature."""
    with pytest.raises(SettingError, match="FEATURE_ATTRIBUTES"):
        settings_from({"FEATURE_ATTRIBUTES": given})
    assert settings_from({"FEATURE_ATTRIBUTES": "brand, season"}).feature_attributes == ("brand", "season")
