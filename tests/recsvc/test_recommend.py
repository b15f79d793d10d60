"""Recommendations with a model: history as it is now, wishes, reasons that add up, guests, neighbours."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from recsvc.models.scorer import Scorer
from recsvc.statistics import Collected
from recsvc.user_store import StoredUser
from recsvc.wanted import ANY, Masks
from tests.models.making import made_up
from tests.recsvc.conftest import Bench

PRODUCTS = 60
MODEL_SOURCES = {"neighbours", "als"}
ITEMS = {"p1": "3,1,0;1000;;4", "p2": "0,0,1;2000", "p3": "1,0,0;500"}
USER = StoredUser({"red": "4,1,1;2000"}, frozenset({"p2"}), items=ITEMS)


@pytest.fixture
def modelled(bench: Bench) -> Bench:
    """A service with a model of sixty products; three have a tag each, two categories, prices up to 60."""
    collected = bench.statistics.collected
    for number in range(PRODUCTS):
        collected.put_product(f"p{number}", [[number, 1, 0], 5, ["red" if number % 2 else "blue"]])
    collected.put_product("new", [[900, 0, 0], 5, ["red"]])
    for tag in ("red", "blue"):
        collected.put_tag(tag, [[300, 20, 0], 5])
    collected.put_catalog(
        {
            f"p{number}": {"name": f"Product {number}", "category": "ab"[number % 2], "price": number}
            for number in range(PRODUCTS)
        }
    )
    bench.statistics.publish()
    bench.scorers.append(Scorer(made_up(PRODUCTS)))
    bench.users.users["u"] = USER
    return bench


def asked(bench: Bench, path: str = "/recommend/u", **query: Any) -> Any:
    """The answer."""
    answer = bench.http.get(path, query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json


def ids(answer: dict[str, Any]) -> list[str]:
    """Its products."""
    return [each["product_id"] for each in answer["products"]]


def test_products_come_from_the_model_and_name_their_ranking(modelled: Bench) -> None:
    """In the scorer's order; what was bought is left out."""
    answer = asked(modelled, n=100)
    sources = [each["source"] for each in answer["products"]]
    of_model = [each for each in sources if each in MODEL_SOURCES]
    assert sources[: len(of_model)] == of_model
    assert len(of_model) > 10
    history = {"p1": 6.0, "p2": 5.0, "p3": 1.0}
    wanted = modelled.scorers[0].rank(history, left_out={"p2"}, n=100)
    assert ids(answer)[: len(of_model)] == [each.product_id for each in wanted]
    assert "p2" not in ids(answer)
    assert "new" in ids(answer)  # which the model does not know, by its tag
    assert len(ids(answer)) == len(set(ids(answer)))
    assert answer["source"] == "profile"


def test_a_change_of_the_weights_moves_the_answer_at_once(modelled: Bench) -> None:
    """The model stays as it is; the history weighs otherwise."""
    modelled.put_weights(view=0, add_to_cart=0, purchase=1)
    wanted = modelled.scorers[0].rank({"p2": 1.0}, left_out={"p2"}, n=10)
    answer = asked(modelled)
    assert [(each["product_id"], each["score"]) for each in answer["products"]] == [
        (each.product_id, each.score) for each in wanted
    ]


def test_an_event_or_a_rating_moves_the_answer_at_once(modelled: Bench) -> None:
    """A low rating pushes what is near away; what is rated is not recommended."""
    history = {"p1": 6.0, "p2": 5.0, "p3": 1.0}
    rated = {"p7": "5;9", "p1": "0.5;9"}
    modelled.users.users["u"] = StoredUser(USER.rows, USER.purchased, items=ITEMS, ratings=rated)
    history |= {"p7": 3.0, "p1": 6.0 - 0.8 * 3.0}
    wanted = modelled.scorers[0].rank(history, left_out={"p2", "p7", "p1"}, n=10)
    assert ids(asked(modelled)) == [each.product_id for each in wanted]
    assert {"p1", "p7"} <= set(ids(asked(modelled, n=100, include_bought="true")))
    modelled.http.put("/api/config/ranking", json={"rating_weight": 0}, headers={"X-API-Key": "key"})
    unrated = modelled.scorers[0].rank({"p1": 6.0, "p2": 5.0, "p3": 1.0}, left_out={"p2", "p7", "p1"}, n=10)
    assert ids(asked(modelled)) == [each.product_id for each in unrated]


def test_reasons_add_up_exactly(modelled: Bench) -> None:
    """For tags and products of every source; of a model's products also in any order."""
    modelled.put_weights(view=0.1, add_to_cart=0.7, purchase=1.3)
    modelled.users.users["u"] = StoredUser(USER.rows, USER.purchased, items=ITEMS, ratings={"p9": "4.5;9", "p1": "1;9"})
    answer = asked(modelled, n=100, explain="true")
    for tag in answer["tags"]:
        total = 0.0
        for part in tag["parts"]:
            assert part["value"] == part["weight"] * part["count"]
            total += part["value"]
        assert total == tag["score"]
    sources = set()
    for product in answer["products"]:
        sources.add(product["source"])
        values = [part["value"] for part in product["parts"]]
        assert math.fsum(values) == product["score"]
        if product["source"] in MODEL_SOURCES:
            assert sum(values) == sum(reversed(values)) == product["score"]
            named = {part["product_id"] for part in product["parts"]}
            assert named <= {"p1", "p2", "p3", "p9"}
            for part in product["parts"]:
                wanted = {"view": 0.1, "add_to_cart": 0.7, "purchase": 1.3, "rating": 3.0}
                assert part["weight"] == wanted[part["event_type"]]
    assert sources > {"tags"}
    assert "parts" not in asked(modelled)["products"][0]


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ({"category": "a"}, lambda number: number % 2 == 0),
        ({"max_price": "20"}, lambda number: number <= 20),
        ({"min_price": "10", "max_price": "20.5", "category": "b"}, lambda number: 10 <= number <= 20 and number % 2),
        ({"exclude": "p1,p10,p11"}, lambda number: number not in (1, 10, 11)),
    ],
)
@pytest.mark.parametrize("user", ["u", "nobody"])
def test_wishes(modelled: Bench, user: str, query: dict[str, str], holds: Callable[[int], bool]) -> None:
    """By model, tags and popularity alike; what the catalogue does not know has neither price nor category."""
    found = ids(asked(modelled, f"/recommend/{user}", n=100, **query))
    numbers = [int(each[1:]) for each in found if each != "new"]
    assert numbers
    assert all(map(holds, numbers))
    assert ("new" in found) == ("exclude" in query)
    left_out = {2} if user == "u" else {0}  # bought; of no popularity beyond one cart
    wanted = {number for number in range(PRODUCTS) if holds(number)} - left_out
    assert wanted - set(numbers) <= {0}


def test_removed_products_are_recommended_by_nobody(modelled: Bench) -> None:
    """Although the model knows them."""
    first = ids(asked(modelled))[0]
    catalogue = {f"p{number}": {"name": "x"} for number in range(PRODUCTS) if f"p{number}" != first}
    modelled.statistics.collected.put_catalog(catalogue, [first])
    modelled.statistics.publish()
    assert first not in ids(asked(modelled, n=100))
    assert first not in ids(asked(modelled, "/similar/p1", n=100))


def test_without_history_or_model_it_is_as_before(modelled: Bench) -> None:
    """Unknown users get what is popular; without a model tags are all there is."""
    assert {each["source"] for each in asked(modelled, "/recommend/nobody")["products"]} == {"popular"}
    modelled.scorers.clear()
    assert {each["source"] for each in asked(modelled)["products"]} == {"tags"}


@pytest.mark.parametrize(
    ("best", "sources"),
    [(None, MODEL_SOURCES), ("blend", MODEL_SOURCES), ("lift × popularity", {"tags"}), ("most popular", {"popular"})],
)
def test_what_did_best_in_training_is_what_answers(modelled: Bench, best: str | None, sources: set[str]) -> None:
    """Something simpler than the model, too; a product's neighbours are the model's all the same."""
    near = asked(modelled, "/similar/p1")["products"]
    modelled.scorers[:] = [Scorer(replace(made_up(PRODUCTS), training={"best": best}))]
    assert {each["source"] for each in asked(modelled, n=5)["products"]} <= sources
    assert asked(modelled, "/similar/p1")["products"] == near


@pytest.mark.parametrize("has_model", [True, False])
def test_what_was_seen_is_left_out_where_that_is_asked_for(modelled: Bench, has_model: bool) -> None:
    """Viewed, put into the cart, bought or rated; else what was only viewed comes again."""
    modelled.users.users["u"] = StoredUser(USER.rows, USER.purchased, items=ITEMS, ratings={"p9": "5;9"})
    if not has_model:
        modelled.scorers.clear()
    assert {"p1", "p3"} <= set(ids(asked(modelled, n=100)))
    assert {"p1", "p2", "p3", "p9"}.isdisjoint(ids(asked(modelled, n=100, exclude_seen="true")))


def test_away_redis_leaves_the_last_history(modelled: Bench) -> None:
    """The answer is that of before, and says that it is degraded."""
    before = asked(modelled)
    modelled.users.up = False
    assert asked(modelled) == {**before, "degraded": True}


def test_expired_products_are_no_history(modelled: Bench) -> None:
    """The bench forgets after 100 s, and it is second 1,000."""
    items = {"p1": "3,1,0;1000;899", "p3": "1,0,0;500;999"}
    modelled.users.users["u"] = StoredUser({}, frozenset(), items=items)
    wanted = modelled.scorers[0].rank({"p3": 1.0}, left_out=set(), n=10)
    assert ids(asked(modelled)) == [each.product_id for each in wanted]


def test_a_guest_is_who_the_request_tells_of(modelled: Bench) -> None:
    """The same answer as for a user with these events; an id counts once; without tags the product's count."""
    events = [
        {"product_id": "p1", "event_type": "view", "event_id": "e"},
        {"product_id": "p1", "event_type": "view", "event_id": "e"},
        {"item_id": "p1", "action": "cart", "timestamp": 1_700_000_000},
        {"product_id": "p2", "event_type": "purchase", "tags": ["blue", "green"]},
    ]
    answer = modelled.http.post("/recommend/session?n=20&explain=true", json={"events": events})
    assert answer.status_code == 200
    found = answer.json
    wanted = modelled.scorers[0].rank({"p1": 4.0, "p2": 5.0}, left_out={"p2"}, n=20)
    assert ids(found)[: len(wanted)] == [each.product_id for each in wanted]
    assert {each["tag"]: each["score"] for each in found["tags"]} == {"red": 4, "blue": 5, "green": 5}
    assert "user_id" not in found
    assert modelled.kafka.messages == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "events"),
        ({"events": []}, "events"),
        ({"events": [{}] * 201}, "events"),
        ({"events": ["x"]}, "events[0]"),
        ({"events": [{"product_id": "p"}]}, "events[0]"),
        ({"events": [{"product_id": "p", "event_type": "view"}, {"event_type": "view"}]}, "events[1]"),
    ],
)
def test_wrong_sessions_are_named(modelled: Bench, body: object, field: str) -> None:
    """By the event that is wrong."""
    answer = modelled.http.post("/recommend/session", json=body)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("explain", "yes"),
        ("include_bought", ""),
        ("exclude_seen", "maybe"),
        ("max_price", "-1"),
        ("max_price", "much"),
        ("exclude", "x" * 129),
    ],
)
def test_wrong_wishes_are_named(modelled: Bench, name: str, value: str) -> None:
    """With what is allowed."""
    answer = modelled.http.get("/recommend/u", query_string={name: value})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, name)


def test_recommendations_as_an_array(modelled: Bench) -> None:
    """Each product with what the catalogue says of it, and the user's rating where there is one."""
    modelled.users.users["7"] = StoredUser({}, frozenset(), items=ITEMS, ratings={"p3": "4.5;9"})
    first = asked(modelled, "/recommend/7")["products"][0]
    modelled.users.products[first["product_id"]] = (None, json.dumps({"description": "warm", "attributes": {"w": 4}}))
    answer: Any = asked(modelled, "/recommendations/7", n=5, include_bought="true")
    assert isinstance(answer, list)
    assert len(answer) == 5
    found = {each["product_id"]: each for each in asked(modelled, "/recommendations/7", n=100, include_bought="true")}
    assert found["p3"]["rating"] == 4.5
    entry = found[first["product_id"]]
    assert (entry["description"], entry["attributes"], entry["rating"]) == ("warm", {"w": 4}, None)
    assert entry["name"] == first["name"]
    assert modelled.http.get("/recommendations/ann").status_code == 404
    modelled.users.up = False
    assert modelled.http.get("/recommendations/7").status_code == 200


def test_similar_products(modelled: Bench) -> None:
    """By the model's similarity; what it doesn't know by tags; what nobody knows is not found."""
    near = asked(modelled, "/similar/p1")["products"]
    assert {each["source"] for each in near} == {"neighbours"}
    assert all(a["score"] >= b["score"] for a, b in pairwise(near))
    assert "p1" not in [each["product_id"] for each in near]
    by_tags = asked(modelled, "/similar/new", n=5)
    assert {each["source"] for each in by_tags["products"]} == {"tags"}
    assert all(int(each[1:]) % 2 for each in ids(by_tags))
    assert modelled.http.get("/similar/unknown").status_code == 404


def test_metrics_of_the_model(modelled: Bench) -> None:
    """Its version, age and figures, and where the products of answers came from."""
    measured = {"best": "blend", "qualities": {"blend": {"ndcg": {"mean": 0.2, "low": 0.1, "high": 0.3}}}}
    modelled.scorers.append(Scorer(replace(made_up(PRODUCTS), version=7, training=measured)))
    asked(modelled)
    asked(modelled, "/recommend/nobody", n=3)
    text = modelled.http.get("/metrics").text
    assert "reweigh_model_version 7.0" in text
    assert 'reweigh_model_ndcg{ranking="blend"} 0.2' in text
    assert "reweigh_model_age_seconds " in text
    assert 'reweigh_recommended_products_total{source="popular"}' in text
    assert 'reweigh_recommended_products_total{source="als"}' in text
    modelled.scorers.clear()
    assert "reweigh_model_version" not in modelled.http.get("/metrics").text


def test_masks_of_two_rankings_stand_side_by_side() -> None:
    """Those of a model's products and of everybody's, which are often equally many."""
    collected = Collected(width=3)
    collected.put_catalog({"a": {}, "b": {}}, ["b"])
    snapshot, masks = collected.snapshot(), Masks()
    model, everybody = ("a", "b"), ("b", "a")
    first = [masks.of(ids, snapshot, ANY) for ids in (model, everybody)]
    assert [None if each is None else each.tolist() for each in first] == [[True, False], [False, True]]
    assert all(masks.of(ids, snapshot, ANY) is known for ids, known in zip((model, everybody), first, strict=True))
