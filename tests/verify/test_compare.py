"""What `reweigh verify` finds in Redis: nothing where all is right, and each thing that is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from reweigh.verify.compare import Comparer, Comparison
from reweigh.verify.stored import Stored
from tests.verify.test_recount import TYPES, Record, event, recounted

WEIGHTS = {"view": 1, "add_to_cart": 2.5, "purchase": 5, "wishlist": -1}
BRACES = "a{b}c"
TOOK = {"duration_ms": 2.5}
LOG: list[Record] = [
    (0, 0, 1, event(user_id="ann", product_id="lamp", tags=["light", "home"], timestamp=1_000)),
    (0, 1, 1, event(user_id="ann", product_id="lamp", tags=["light"], timestamp=3_000, metadata=TOOK)),
    (2, 0, 1, event(user_id="ann", product_id="sofa", tags=["home"], timestamp=2_000, metadata=TOOK)),
    (4, 0, 1, event(user_id=BRACES, product_id="sofa", tags=['q"uote', "é"], timestamp=2_000)),
    (6, 0, 1, event(user_id="bob", product_id="bare", tags=[])),
    (0, 2, 1, event(user_id="ann", event_id="x", tags=["open"])),
    (1, 0, 1, event(user_id="ann", event_id="x", tags=["other"])),
    (1, 1, 1, b"[]"),
]


def write_what_is_right(client: redis.Redis) -> None:
    """What the job and the service would have stored, written out by hand."""
    light, home, opened = "2,0,0,0;3000000", "1,1,0,0;2000000", "1,0,0,0;1600000000000"
    client.hset("{user:profile:ann}:counts", mapping={"light": light, "home": home, "open": opened})
    client.hset("user:profile:ann", mapping={"light": "2", "home": "3.5", "open": "1"})
    beside = client.hset(f"user:profile:{BRACES}", mapping={'q"uote': "5", "é": "5"})
    assert beside == 2
    client.hset("{77}:counts:user:profile:" + BRACES, mapping={'q"uote': "0,0,1,0;2000000", "é": "0,0,1,0;2000000"})
    client.hset("{user:profile:ann}:items", mapping={
        "lamp": "2,0,0,0;3000000;;7;2500:1,0:0", "sofa": "0,1,0,0;2000000;;;2500:1,0:0", "p": "1,0,0,0;1600000000000",
    })  # fmt: skip
    client.hset("{77}:items:user:profile:" + BRACES, "sofa", "0,0,1,0;2000000;1234")
    client.hset("{user:profile:bob}:items", "bare", "0,0,0,1;1600000000000")
    client.sadd("{77}:purchased:user:profile:" + BRACES, "sofa")
    client.zadd("{user:profile:ann}:recent", {
        "0:0:0:lamp": 1_000_000, "1:0:0:sofa": 2_000_000, "0:0:1:lamp": 3_000_000, "0:0:2:p": 1_600_000_000_000,
    })  # fmt: skip
    client.zadd("{77}:recent:user:profile:" + BRACES, {"2:0:0:sofa": 2_000_000})
    client.zadd("{user:profile:bob}:recent", {"3:0:0:bare": 1_600_000_000_000})
    client.hset("{user:profile:bob}:arrivals", "1", "1;3:0:0;")  # which nobody compares
    client.hset("{stats}:products", mapping={
        "lamp": '[[2,0,0,0],3000000,["light"]]', "sofa": '[[0,1,1,0],2000000,["q\\"uote","\\u00e9"]]',
        "bare": "[[0,0,0,1],1600000000000,[]]", "p": '[[1,0,0,0],1600000000000,["open"]]',
    })  # fmt: skip
    client.hset("{stats}:tags", mapping={
        "light": "[[2,0,0,0],3000000]", "home": "[[1,1,0,0],2000000]", 'q"uote': "[[0,0,1,0],2000000]",
        "é": "[[0,0,1,0],2000000]", "open": "[[1,0,0,0],1600000000000]",
    })  # fmt: skip
    client.hset("{stats}:totals", mapping={
        "read:view-events": 5, "read:add-to-cart-events": 1, "read:purchase-events": 1, "read:wishlist-events": 1,
        "applied:view": 3, "applied:add_to_cart": 1, "applied:purchase": 1, "applied:wishlist": 1,
        "dead:not_an_object": 1, "untagged": 1,
    })  # fmt: skip
    client.set("writer:epoch", 3)


def compare(redis_url: str, applied: dict[int, int] | None = None, most: int = 1_000) -> Comparison:
    """Compare what Redis holds with the recount of ``LOG``, applied as far as that."""
    stored = Stored(redis_url)
    try:
        with recounted(LOG, applied, most=most) as recount:
            stored.read_into(recount.database, lambda _done, _total: None)
            recount.know_catalogue(stored.catalogue())
            recount.count()
            return Comparer(recount.database, TYPES.names, WEIGHTS, 10, numbers=recount.numbers).compare()
    finally:
        stored.close()


def test_nothing_differs_where_all_is_right(redis_url: str, client: redis.Redis) -> None:
    """Names in any characters, and one of two contents of the same id, whichever it was."""
    write_what_is_right(client)
    found = compare(redis_url)
    assert found.differences == []
    left_open = {(each.what, each.key, each.field) for each in found.open}
    assert left_open == {
        ("counts", "ann", "other"), ("items", "ann", "p"), ("tag", "other", ""), ("product", "p", ""),
        ("total", "applied:view", ""), ("recent events", "ann", ""),
    }  # fmt: skip
    assert found.users == 2


DAMAGES: list[tuple[str, Callable[[Any], object], set[tuple[str, str, str]]]] = [
    ("a count", lambda r: r.hset("{user:profile:ann}:counts", "light", "3,0,0,0;3000000"),
     {("counts", "ann", "light"), ("score", "ann", "light")}),
    ("a newest time", lambda r: r.hset("{user:profile:ann}:counts", "light", "2,0,0,0;2999999"),
     {("counts", "ann", "light")}),
    ("an unreadable row", lambda r: r.hset("{user:profile:ann}:counts", "light", "2"), {("counts", "ann", "light")}),
    ("a missing row", lambda r: r.hdel("{user:profile:ann}:counts", "light"),
     {("counts", "ann", "light"), ("score", "ann", "light")}),
    ("a row too much", lambda r: r.hset("{user:profile:ann}:counts", "x", "1,0,0,0;1"),
     {("counts", "ann", "x"), ("score", "ann", "x")}),
    ("a user too much", lambda r: r.hset("{user:profile:zoe}:counts", "x", "0,0,0,0;1"),
     {("counts", "zoe", "x"), ("score", "zoe", "x")}),
    ("a missing user", lambda r: r.delete("user:profile:ann"),
     {("score", "ann", tag) for tag in ("light", "home", "open")}),
    ("a score", lambda r: r.hset("user:profile:ann", "home", "3.6"), {("score", "ann", "home")}),
    ("a score with a fraction", lambda r: r.hset("user:profile:ann", "light", "2.0"), {("score", "ann", "light")}),
    ("a score too much", lambda r: r.hset("user:profile:bob", "x", "0"), {("score", "bob", "x")}),
    ("no number as score", lambda r: r.hset("user:profile:ann", "light", "two"), {("score", "ann", "light")}),
    ("an item's count", lambda r: r.hset("{user:profile:ann}:items", "sofa", "0,2,0,0;2000000;;;2500:1,0:0"),
     {("items", "ann", "sofa")}),
    ("an item's sum", lambda r: r.hset("{user:profile:ann}:items", "lamp", "2,0,0,0;3000000;;7;2400:1,0:0"),
     {("items", "ann", "lamp")}),
    ("a missing sum", lambda r: r.hset("{user:profile:ann}:items", "lamp", "2,0,0,0;3000000"),
     {("items", "ann", "lamp")}),
    ("a missing item", lambda r: r.delete("{user:profile:bob}:items"), {("items", "bob", "bare")}),
    ("an item too much", lambda r: r.hset("{user:profile:zoe}:items", "x", "1,0,0,0;1"), {("items", "zoe", "x")}),
    ("a purchase too much", lambda r: r.sadd("{user:profile:ann}:purchased", "lamp"), {("purchase", "ann", "lamp")}),
    ("a missing purchase", lambda r: r.delete("{77}:purchased:user:profile:" + BRACES), {("purchase", BRACES, "sofa")}),
    ("a product's count", lambda r: r.hset("{stats}:products", "lamp", '[[3,0,0,0],3000000,["light"]]'),
     {("product", "lamp", "")}),
    ("a product's tags", lambda r: r.hset("{stats}:products", "lamp", '[[2,0,0,0],3000000,["home"]]'),
     {("tags of product", "lamp", "")}),
    ("a missing product", lambda r: r.hdel("{stats}:products", "lamp"), {("product", "lamp", "")}),
    ("a product too much", lambda r: r.hset("{stats}:products", "new", "[[0,0,0,0],1,[]]"), {("product", "new", "")}),
    ("an unreadable product", lambda r: r.hset("{stats}:products", "lamp", "nonsense"), {("product", "lamp", "")}),
    ("a tag's count", lambda r: r.hset("{stats}:tags", "home", "[[1,0,0,0],2000000]"), {("tag", "home", "")}),
    ("a total", lambda r: r.hset("{stats}:totals", "read:view-events", 6), {("total", "read:view-events", "")}),
    ("a missing total", lambda r: r.hdel("{stats}:totals", "untagged"), {("total", "untagged", "")}),
    ("a total too much", lambda r: r.hset("{stats}:totals", "dead:made_up", 1), {("total", "dead:made_up", "")}),
    ("beyond what is left open", lambda r: r.hset("{user:profile:ann}:counts", "other", "2,0,0,0;1600000000000"),
     {("counts", "ann", "other"), ("score", "ann", "other")}),
    ("a missing event", lambda r: r.delete("{user:profile:bob}:recent"), {("recent events", "bob", "")}),
    ("another time", lambda r: r.zadd("{user:profile:bob}:recent", {"3:0:0:bare": 1}), {("recent events", "bob", "")}),
    ("an event too much", lambda r: r.zadd("{user:profile:bob}:recent", {"3:0:1:bare": 1_600_000_000_001}),
     {("recent events", "bob", "")}),
    ("an event that nobody sent", lambda r: r.zadd("{user:profile:ann}:recent", {"0:0:9:lamp": 3_000_000}),
     {("recent events", "ann", "")}),
    ("an unknown key", lambda r: r.set("user:profil:ann", 1), {("unknown key", "user:profil:ann", "")}),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "wanted"), [each[1:] for each in DAMAGES], ids=[each[0] for each in DAMAGES])
def test_finds_what_differs(
    redis_url: str, client: redis.Redis, damage: Callable[[Any], object], wanted: set[tuple[str, str, str]]
) -> None:
    """Each damage is found where it is, and nothing else."""
    write_what_is_right(client)
    damage(client)
    found = compare(redis_url).differences
    assert {(each.what, each.key, each.field) for each in found} == wanted


def test_a_product_that_has_to_leave_may_still_be_there(redis_url: str, client: redis.Redis) -> None:
    """While events that push it out may not have been applied: but then with its own counts and sums."""
    write_what_is_right(client)
    client.hdel("{user:profile:ann}:items", "lamp", "p")

    def wrong_items() -> list[str]:
        found = compare(redis_url, {0: 0, 1: 0}, most=1).differences
        return [each.field for each in found if (each.what, each.key) == ("items", "ann")]

    assert wrong_items() == []
    client.hset("{user:profile:ann}:items", "sofa", "0,1,0,0;2000000;;;2600:1,0:0")
    assert wrong_items() == ["sofa"]


def without_x(client: redis.Redis) -> None:
    """Take back what the id with two contents has left."""
    client.hdel("{user:profile:ann}:counts", "open")
    client.hdel("user:profile:ann", "open")
    client.hdel("{user:profile:ann}:items", "p")
    client.hdel("{stats}:products", "p")
    client.hdel("{stats}:tags", "open")
    client.hincrby("{stats}:totals", "applied:view", -1)


def with_the_other_x(client: redis.Redis) -> None:
    """Count the other content of that id."""
    client.hset("{user:profile:ann}:counts", "other", "1,0,0,0;1600000000000")
    client.hset("user:profile:ann", "other", "1")
    client.hset("{user:profile:ann}:items", "p", "1,0,0,0;1600000000000")
    client.hset("{stats}:products", "p", '[[1,0,0,0],1600000000000,["other"]]')
    client.hset("{stats}:tags", "other", "[[1,0,0,0],1600000000000]")
    client.hincrby("{stats}:totals", "applied:view", 1)


def test_of_two_contents_of_one_id_one_must_have_been_counted(redis_url: str, client: redis.Redis) -> None:
    """Either is right; none or both is found by the sum, though each field by itself is possible."""
    write_what_is_right(client)
    without_x(client)
    (dropped,) = compare(redis_url).differences
    assert (dropped.what, dropped.key, dropped.wanted, dropped.stored) == ("total", "applied", "6", "5")
    with_the_other_x(client)
    assert compare(redis_url).differences == []
    client.flushdb()
    write_what_is_right(client)
    with_the_other_x(client)
    client.hset("{stats}:products", "p", '[[2,0,0,0],1600000000000,["other"]]')
    client.hset("{user:profile:ann}:items", "p", "2,0,0,0;1600000000000")
    (twice,) = compare(redis_url).differences
    assert (twice.what, twice.key, twice.wanted, twice.stored) == ("total", "applied", "6", "7")


def test_what_may_not_have_been_applied_yet_leaves_the_sum_open(redis_url: str, client: redis.Redis) -> None:
    """But no further than by as many events."""
    write_what_is_right(client)
    assert compare(redis_url, {1: 0, 0: 2}).differences == []
    without_x(client)
    assert compare(redis_url, {1: 0, 0: 2}).differences == []
    (dropped,) = compare(redis_url, {1: 0}).differences
    assert (dropped.what, dropped.key) == ("total", "applied")
    with_the_other_x(client)
    client.hincrby("{stats}:totals", "applied:view", 1)
    (twice,) = compare(redis_url, {1: 0, 0: 2}).differences
    assert (twice.what, twice.key) == ("total", "applied")


def test_names_the_events_behind_a_difference(redis_url: str, client: redis.Redis) -> None:
    """So that somebody can look at them."""
    write_what_is_right(client)
    client.hset("{user:profile:ann}:counts", "home", "9,1,0,0;2000000")
    (counts, _) = sorted(compare(redis_url).differences, key=lambda each: each.what)
    assert counts.events == ("add-to-cart-events:0:0", "view-events:0:0")
    assert (counts.wanted, counts.stored) == ("1,1,0,0;2000000", "9,1,0,0;2000000")


def test_catalogue_rows_of_other_writers(redis_url: str, client: redis.Redis) -> None:
    """Rows that don't say since when, and such as can't be read."""
    client.hset("catalog:products", mapping={"a": json.dumps({"tags": ["x", "x", 5, ""]}), "b": "nonsense", "c": "[]"})
    stored = Stored(redis_url)
    assert stored.catalogue() == {"a": (["x"], None)}
    stored.close()
