"""Products: what is known of one, and pages of the catalogue."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.recsvc.conftest import Bench

ROWS: dict[str, dict[str, Any]] = {
    "p1": {"name": "Lamp", "tags": ["light"], "price": 9.5, "category": "home"},
    "p2": {"name": "Rug", "tags": [], "price": 50, "category": "home"},
    "p3": {"name": None, "tags": ["x"], "price": None, "category": "toys"},
    "p4": {"name": "Ball", "tags": ["x"], "price": 2, "category": "toys"},
}


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """Four products, one of them with details; a product that only events tell of, and one that was removed."""
    collected = bench.statistics.collected
    collected.put_catalog(ROWS, removed=["gone"])
    for product_id, views in (("p1", 3), ("unlisted", 5), ("gone", 9)):
        collected.put_product(product_id, [[views, 0, 1], 1_700_000_000_000, ["light"]])
    bench.statistics.publish()
    bench.users.products = {each: (json.dumps(row), None) for each, row in ROWS.items()}
    details = {"description": "warm", "attributes": {"watt": 4}}
    bench.users.products["p1"] = (json.dumps(ROWS["p1"]), json.dumps(details))
    return bench


def get(bench: Bench, path: str) -> Any:
    """GET; gives the JSON."""
    answer = bench.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json


def test_one_product(shop: Bench) -> None:
    """All that is known of it, from the catalogue and from everybody's events."""
    assert get(shop, "/products/p1") == {
        "product_id": "p1",
        **ROWS["p1"],
        "description": "warm",
        "attributes": {"watt": 4},
        "events": {"view": 3, "add_to_cart": 0, "purchase": 1},
        "degraded": False,
    }
    unlisted = get(shop, "/products/unlisted")
    assert (unlisted["name"], unlisted["events"]["view"], unlisted["tags"]) == (None, 5, [])
    for unknown in ("nobody", "gone"):
        answer = shop.http.get(f"/products/{unknown}")
        assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


def test_one_product_while_redis_is_away(shop: Bench) -> None:
    """What is in memory, and that it may not be all."""
    shop.users.up = False
    found = get(shop, "/products/p1")
    assert (found["name"], found["description"], found["degraded"]) == ("Lamp", None, True)


def test_pages(shop: Bench) -> None:
    """In the order of ids, each product once, the last page without a next one."""
    seen: list[str] = []
    after = ""
    while True:
        page = get(shop, f"/products?n=3{after}")
        seen += [each["product_id"] for each in page["products"]]
        assert page["total"] == 4
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == ["p1", "p2", "p3", "p4"]
    assert get(shop, "/products?n=1")["products"] == [{"product_id": "p1", **ROWS["p1"]}]


@pytest.mark.parametrize(
    ("query", "found", "total"),
    [
        ("category=home", ["p1", "p2"], 2),
        ("category=none", [], 0),
        ("max_price=9.5", ["p1", "p4"], 2),
        ("min_price=3", ["p1", "p2"], 2),
        ("category=home&min_price=10&max_price=60", ["p2"], 1),
        ("category=toys&after=p3", ["p4"], 2),
        ("category=toys&after=p1&n=1", ["p3"], 2),
        ("after=p3", ["p4"], 4),
        ("after=p9", [], 4),
    ],
)
def test_some_products(shop: Bench, query: str, found: list[str], total: int) -> None:
    """By category and price; one without a price is of none. The total counts what matches, on whatever page."""
    page = get(shop, f"/products?{query}")
    assert ([each["product_id"] for each in page["products"]], page["total"]) == (found, total)
    assert page["next"] == ("p3" if "n=1" in query else None)


@pytest.mark.parametrize(
    "query", ["n=0", "n=501", "min_price=-1", "max_price=x", "max_price=nan", "category=", "after="]
)
def test_bad_queries(bench: Bench, query: str) -> None:
    """Each by field, value and what is allowed."""
    answer = bench.http.get(f"/products?{query}")
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert answer.json is not None
    assert answer.json["errors"][0]["field"] == query.partition("=")[0]


def test_what_is_removed_is_shown_to_nobody(shop: Bench) -> None:
    """However popular it is."""
    products = [each["product_id"] for each in get(shop, "/recommend/nobody")["products"]]
    assert products[0] == "unlisted"
    assert "gone" not in products
