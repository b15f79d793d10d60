"""The data sets: MovieLens as it is, and the made-up shop."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from reccore.event_types import EventTypes
from reccore.weights import default_weights
from recsvc.models.model import BLEND
from reweigh.cli import main
from reweigh.dataset import data_files, hold_out_newest, read_dataset
from reweigh.evaluation import compare
from reweigh.movielens import write_movielens
from reweigh.shop import CARTS, PURCHASES, SLICE, event_lines, make_shop, product_lines, slices
from reweigh.train.measuring import LIFT

TYPES = EventTypes.from_settings({})
CACHE = Path(os.environ.get("REWEIGH_CACHE") or Path(__file__).resolve().parents[2] / ".local" / "cache")


def test_movielens_is_complete(tmp_path: Path) -> None:
    """943 people, 1,682 products, 100,000 valid events of distinct ids, and the ratings' mix of types."""
    write_movielens(tmp_path, CACHE)
    events = (tmp_path / "events.jsonl").read_bytes()
    data = read_dataset(*data_files([tmp_path]), TYPES)
    assert (len(data.user_ids), len(data.product_ids), len(data.users)) == (943, 1_682, 100_000)
    # 6,110 ratings of 1, 11,370 of 2, 27,145 of 3, 34,174 of 4, 21,201 of 5.
    assert Counter(data.types.tolist()) == {0: 17_480, 1: 27_145, 2: 55_375}
    first = json.loads(events.splitlines()[0])
    assert first == {
        "event_id": "ml-259-255",
        "user_id": "259",
        "product_id": "255",
        "event_type": "purchase",
        "timestamp": 874724710,
    }
    products = [json.loads(line) for line in (tmp_path / "products.jsonl").read_text().splitlines()]
    assert products[0]["name"] == "Toy Story (1995)"
    assert products[0]["tags"] == ["Animation", "Children's", "Comedy"]
    write_movielens(tmp_path, CACHE)
    assert (tmp_path / "events.jsonl").read_bytes() == events


def test_the_blend_beats_most_popular_on_movielens(tmp_path: Path) -> None:
    """By what docs/recommendations.md states of everybody: here a third of the people, the same models."""
    write_movielens(tmp_path, CACHE)
    data = read_dataset(*data_files([tmp_path]), TYPES)
    weights, held_out = default_weights(TYPES), hold_out_newest(data, 0.8)
    found = compare(data, held_out, weights, label="1,3,5", most_people=300, tell=lambda *_: None)
    assert found.ratio(BLEND) > 1.6
    assert found.ratio(BLEND) > found.ratio(LIFT) > 1


def test_shop_is_the_same_for_the_same_seed() -> None:
    """Arguments decide every byte, and another seed gives another shop."""

    def text(seed: int) -> str:
        shop = make_shop(50, 80, seed)
        return "".join([*event_lines(shop, 700), *product_lines(shop)])

    assert text(3) == text(3)
    assert text(3) != text(4)


def test_shop_has_retailrockets_mix_in_every_slice() -> None:
    """96.7 % views, 2.5 % carts, 0.8 % purchases, over more than one slice; as many events as asked for."""
    parts = list(slices(make_shop(500, 300, 1), SLICE + 1_000))
    assert [len(part.users) for part in parts] == [SLICE, 1_000]
    for part in parts:
        carts, purchases = round(len(part.types) * CARTS), round(len(part.types) * PURCHASES)
        assert np.bincount(part.types).tolist() == [len(part.types) - carts - purchases, carts, purchases]
    assert parts[0].times_ms.max() < parts[1].times_ms.min() + 86_400_000


def test_cart_and_purchase_follow_a_view_of_the_product_in_the_session() -> None:
    """A session reads like one."""
    [part] = slices(make_shop(200, 300, 5), 20_000)
    seen: set[tuple[int, int]] = set()
    for kind, session, product in zip(part.types.tolist(), part.sessions.tolist(), part.products.tolist(), strict=True):
        assert kind == 0 or (session, product) in seen
        seen.add((session, product))


def test_shop_has_long_tails_and_two_tags_or_so() -> None:
    """A tenth of products and people make up much more than a tenth of the events."""
    shop = make_shop(2_000, 1_000, 2)
    [part] = slices(shop, 60_000)
    for column, size in ((part.products, 1_000), (part.users, 2_000)):
        counts = np.sort(np.bincount(column, minlength=size))[::-1]
        assert counts[: size // 10].sum() > 0.25 * counts.sum()
    assert 2 <= np.mean([len(tags) for tags in shop.tags]) <= 2.6


def test_planted_preferences_are_recovered_by_tag_lift() -> None:
    """Of the people with enough events, nearly all show both planted categories among their three highest lifts."""
    shop = make_shop(300, 1_000, 9)
    [part] = slices(shop, 60_000)
    category = np.searchsorted(shop.starts, part.products, side="right") - 1
    everybody = np.bincount(category, minlength=shop.categories) / len(category)
    right = seen = 0
    for user in range(300):
        own = np.bincount(category[part.users == user], minlength=shop.categories)
        if own.sum() >= 50:
            seen += 1
            best = np.argsort(-(own / own.sum()) / np.maximum(everybody, 1e-9))[:3]
            right += set(shop.likes[user].tolist()) <= set(best.tolist())
    assert seen > 100
    assert right / seen > 0.9


def test_command_writes_the_shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`reweigh data shop` writes events, products and the planted preferences; every event is valid."""
    arguments = ["--users", "20", "--products", "30", "--events", "400", "--seed", "1", "--out", str(tmp_path)]
    assert main(["data", "shop", *arguments, "--with-tags"]) == 0
    assert "400 events" in capsys.readouterr().out
    data = read_dataset(*data_files([tmp_path]), TYPES)
    assert len(data.users) == 400
    event = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0])
    products = [json.loads(line) for line in (tmp_path / "products.jsonl").read_text().splitlines()]
    assert event["tags"] == next(each["tags"] for each in products if each["product_id"] == event["product_id"])
    assert len((tmp_path / "preferences.jsonl").read_text().splitlines()) == 20


def test_one_product_is_a_shop(tmp_path: Path) -> None:
    """The smallest arguments work."""
    assert len(list(event_lines(make_shop(1, 1, 0), 3))) == 3
