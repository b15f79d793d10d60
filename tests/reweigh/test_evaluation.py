"""The measures by hand-computed examples, the replay, and the fast answers against the rules."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reccore.event_types import EventTypes
from reccore.ranking import PRIOR_EVENTS, Product, rank_popular, rank_products, taste, typical_weight
from reccore.scoring import score
from reccore.weights import Weights, parse_weights
from recsvc.models.model import BLEND, MOST_POPULAR
from reweigh.answers import Answers
from reweigh.cli import main
from reweigh.dataset import Dataset, Flags, data_files, hold_out_after, hold_out_newest, read_dataset, time_at
from reweigh.evaluation import PURCHASES, Comparison
from reweigh.evaluation import compare as compare_rankings
from reweigh.metrics import bootstrap_mean, ndcg, recall
from reweigh.train.fitting import Choice
from reweigh.train.measuring import ALS, LIFT, NEIGHBOURS
from reweigh.train.model_answers import ModelAnswers

TYPES = EventTypes.from_settings({})
NAMES = TYPES.names


def test_ndcg_and_recall_by_hand() -> None:
    """Hits at places 1 and 3 of 3, three relevant: (1 + 1/2) over (1 + 1/log2 3 + 1/2)."""
    assert ndcg([5, 6, 7], {5, 7, 9}, 3) == pytest.approx(1.5 / (1 + 1 / log2(3) + 0.5))
    assert ndcg([5, 6, 7], {7}, 3) == pytest.approx(0.5)
    assert ndcg([5, 6, 7], {7}, 2) == 0.0
    assert ndcg([5], set(), 2) == 0.0
    assert recall([5, 6, 7], {5, 7, 9, 10}, 3) == 0.5
    assert recall([5, 6, 7], {7}, 2) == 0.0


def test_bootstrap_holds_the_mean_and_repeats() -> None:
    """The interval surrounds the mean, has no width without spread, and is the same each time."""
    values = [0.0, 1.0] * 50
    mean = bootstrap_mean(values)
    assert mean.low < mean.mean == 0.5 < mean.high
    assert mean.high - mean.low == pytest.approx(4 * 0.05, rel=0.2)
    assert mean == bootstrap_mean(values)
    assert bootstrap_mean([0.25] * 10).low == 0.25


def compare(data: Dataset, held_out: Flags, weights: Weights, **options: Any) -> Comparison:
    """Compare, without telling anybody how far it is."""
    return compare_rankings(data, held_out, weights, tell=lambda *_: None, **options)


def write(file: Path, objects: list[dict[str, Any]]) -> Path:
    """Write objects as JSON lines."""
    file.write_text("".join(json.dumps(each) + "\n" for each in objects))
    return file


def random_shop(folder: Path, seed: int) -> Dataset:
    """Sixty products of up to three tags, some only in events, and 500 events of 25 people."""
    draw = random.Random(seed)
    tags = [f"t{number}" for number in range(8)]
    products = {f"p{number}": draw.sample(tags, draw.randint(0, 3)) for number in range(60)}
    catalog = [{"product_id": name, "tags": those} for name, those in products.items() if name != "p7"]
    events = [
        {
            "event_id": f"e{draw.randint(0, 450)}",
            "user_id": f"u{draw.randint(0, 24)}",
            "product_id": f"p{int(draw.random() ** 2 * 60)}",
            "event_type": draw.choice(NAMES),
            "timestamp": draw.randint(1, 50),
            **({"tags": draw.sample(tags, 2)} if draw.random() < 0.2 else {}),
        }
        for _ in range(500)
    ]
    write(folder / "products.jsonl", catalog)
    write(folder / "events.jsonl", events)
    return read_dataset(*data_files([folder]), TYPES)


def by_the_rules(folder: Path, known: set[str], user: str, weights: tuple[float, ...], popular: bool) -> list[str]:
    """What ``reccore.ranking`` says, counted in plain Python from the files; ``known`` are event ids."""
    catalog = {each["product_id"]: tuple(each["tags"]) for each in lines(folder / "products.jsonl")}
    distinct = list({each["event_id"]: each for each in reversed(lines(folder / "events.jsonl"))}.values())[::-1]
    product_tags: dict[str, tuple[str, ...]] = {}
    products: dict[str, list[int]] = {}
    everybody: dict[str, list[int]] = {}
    own: dict[str, list[int]] = {}
    bought = set()
    for each in distinct:
        name, kind = each["product_id"], NAMES.index(each["event_type"])
        tags = tuple(each["tags"]) if "tags" in each else catalog.get(name, ())
        product_tags[name] = catalog.get(name, tags)
        if each["event_id"] not in known:
            continue
        products.setdefault(name, [0, 0, 0])[kind] += 1
        for tag in tags:
            everybody.setdefault(tag, [0, 0, 0])[kind] += 1
            if each["user_id"] == user:
                own.setdefault(tag, [0, 0, 0])[kind] += 1
        if each["user_id"] == user and each["event_type"] == "purchase":
            bought.add(name)
    ranked = [Product(name, product_tags[name], score(counts, weights)) for name, counts in products.items()]
    if popular:
        return [each.product_id for each in rank_popular(ranked, left_out=bought, n=10)]
    typical = typical_weight([sum(column) for column in zip(*everybody.values(), strict=True)], weights)
    likes = taste(
        {tag: score(counts, weights) for tag, counts in own.items()},
        {tag: score(counts, weights) for tag, counts in everybody.items()},
        typical,
    )
    return [each.product_id for each in rank_products(ranked, likes, left_out=bought, n=10)]


def lines(file: Path) -> list[dict[str, Any]]:
    """Read objects of JSON lines."""
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("weights", [(1.0, 3.0, 5.0), (0.0, 0.0, 1.0), (1.0, 0.25, 0.0)])
def test_the_answers_are_those_of_the_rules(tmp_path: Path, weights: tuple[float, ...]) -> None:
    """Arrays and rules give the same list for every person, from files with repeats and tags in events."""
    data = random_shop(tmp_path, seed=3)
    held_out = hold_out_newest(data, 0.7)
    first_lines = {each["event_id"]: each for each in reversed(lines(tmp_path / "events.jsonl"))}
    ids = list(dict.fromkeys(each["event_id"] for each in lines(tmp_path / "events.jsonl")))
    assert len(ids) == len(data.users) == len(first_lines)
    known = {name for name, held in zip(ids, held_out.tolist(), strict=True) if not held}
    answers = Answers(data, ~held_out, Weights(tuple(NAMES), weights))
    for number, user in enumerate(data.user_ids):
        ours = [data.product_ids[each] for each in answers.recommended(number, 10)]
        popular = [data.product_ids[each] for each in answers.popular(number, 10)]
        assert ours == by_the_rules(tmp_path, known, user, weights, popular=False)
        assert popular == by_the_rules(tmp_path, known, user, weights, popular=True)


def test_splits(tmp_path: Path) -> None:
    """Per person the newest are held out, one event stays; for everybody what came at or after a time."""
    events = [
        {"user_id": user, "product_id": f"p{time}", "event_type": "view", "timestamp": time}
        for user, times in (("a", (5, 1, 4, 2, 3)), ("b", (9,)), ("c", (7, 6)))
        for time in times
    ]
    data = read_dataset([write(tmp_path / "e.jsonl", events)], [], TYPES)
    assert hold_out_newest(data, 0.8).tolist() == [True, False, False, False, False, False, True, False]
    assert hold_out_newest(data, 0.1).tolist() == [True, False, True, True, True, False, True, False]
    assert time_at(data, 0.5) == 5_000
    assert hold_out_after(data, 5_000).tolist() == [True, False, False, False, False, True, True, True]


def test_comparison_by_hand(tmp_path: Path) -> None:
    """Two tastes and nothing shared: lift finds what is held out, most popular finds it for the majority only."""
    products = [{"product_id": name, "tags": [name[0]]} for name in ("a1", "a2", "a3", "b1", "b2", "b3")]
    bought = {"a": ["a1", "a2"], "b": ["b1", "b2"]}
    events = []
    for number in range(30):
        likes = "a" if number < 20 else "b"
        order = [f"{likes}3"] if number % 10 else bought[likes][::-1]
        views = [(f"{likes}1", "view", time) for time in range(40)]
        for name, kind, time in [*views, *((each, "view", 99) for each in order)]:
            events.append({"user_id": f"{number:02}", "product_id": name, "event_type": kind, "timestamp": time})
    write(tmp_path / "products.jsonl", products)
    write(tmp_path / "events.jsonl", events)
    data = read_dataset(*data_files([tmp_path]), TYPES)
    weights = parse_weights({"view": 1, "add_to_cart": 3, "purchase": 5}, TYPES)
    found = compare(data, hold_out_after(data, 99_000), weights, label="1,3,5", n=2, left_out=PURCHASES)
    # a1 and b1 are all that is known: three persons of thirty want one of them, and one other thing besides.
    place_one, place_two = 1 / (1 + 1 / log2(3)), (1 / log2(3)) / (1 + 1 / log2(3))
    assert (found.people, found.people_with_history) == (30, 30)
    assert found.qualities[LIFT].ndcg.mean == pytest.approx(3 * place_one / 30)
    assert found.qualities[MOST_POPULAR].ndcg.mean == pytest.approx((2 * place_one + place_two) / 30)
    assert found.qualities[LIFT].recall.mean == pytest.approx(3 * 0.5 / 30)
    assert found.qualities[LIFT].coverage == 1.0
    assert found.qualities[LIFT].gain.mean == pytest.approx((place_one - place_two) / 30)
    assert found.ratio(LIFT) == pytest.approx(3 * place_one / (2 * place_one + place_two))


def test_bought_products_are_neither_recommended_nor_relevant(tmp_path: Path) -> None:
    """The service leaves purchases out, so buying again can't be measured."""
    buys = [("u", "p1", "purchase", 1), ("u", "p1", "purchase", 9), ("u", "p2", "view", 9), ("v", "p2", "view", 1)]
    events = [dict(zip(("user_id", "product_id", "event_type", "timestamp"), each, strict=True)) for each in buys]
    data = read_dataset([write(tmp_path / "e.jsonl", events)], [], TYPES)
    weights = parse_weights({"view": 1, "add_to_cart": 3, "purchase": 5}, TYPES)
    found = compare(data, hold_out_after(data, 9_000), weights, label="", n=10, left_out=PURCHASES)
    assert (found.people, found.qualities[LIFT].recall.mean) == (1, 1.0)


def test_nobody_is_shown_the_own_history(tmp_path: Path) -> None:
    """By no ranking; so it is not relevant either. With purchases left out, what was only seen may come again."""
    data = random_shop(tmp_path, seed=5)
    held_out = hold_out_newest(data, 0.7)
    weights = parse_weights({"view": 1, "add_to_cart": 3, "purchase": 5}, TYPES)
    for left_out, by_type in ((None, set(range(3))), ("purchase", {2})):
        answers = Answers(data, ~held_out, weights, left_out)
        models = ModelAnswers(data, ~held_out, weights, Choice(), lambda *_: None, left_out)
        shown = 0
        for user in range(len(data.user_ids)):
            mine = ~held_out & (data.users == user)
            hidden = set(data.products[mine & np.isin(data.types, list(by_type))].tolist())
            assert set(answers.left_out(user).tolist()) == hidden
            lists = [answers.recommended(user, 10), answers.popular(user, 10)]
            lists += [models.ranked(user, hidden, 10, blend) for blend in (0.0, 1.0, models.blend)]
            assert not any(hidden & set(each) for each in lists)
            shown += sum(len(set(data.products[mine].tolist()) & set(each)) for each in lists)
        assert (shown > 0) == (left_out is not None)


def test_the_blend_is_chosen_by_known_events_alone(tmp_path: Path) -> None:
    """Other held-out events change neither the model nor the blend."""
    data = random_shop(tmp_path, seed=6)
    held_out = hold_out_newest(data, 0.7)
    weights = parse_weights({"view": 1, "add_to_cart": 3, "purchase": 5}, TYPES)
    products = data.products.copy()
    products[held_out] = products[held_out][::-1]
    one, other = (
        ModelAnswers(each, ~held_out, weights, Choice(), lambda *_: None)
        for each in (data, replace(data, products=products))
    )
    assert one.blend == other.blend
    for user in range(len(data.user_ids)):
        assert one.ranked(user, set(), 10, one.blend) == other.ranked(user, set(), 10, one.blend)


def test_command_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`reweigh eval --output json` names split, weights and all rankings."""
    random_shop(tmp_path, seed=1)
    assert main(["eval", "--data", str(tmp_path), "--output", "json", "--weights", "1,3,5", "--at", "0.7"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["comparisons"][0]["qualities"]) == {MOST_POPULAR, LIFT, NEIGHBOURS, ALS, BLEND}
    assert main(["eval", "--data", str(tmp_path), "--weights", "0,0,0"]) == 1
    assert "at least one" in capsys.readouterr().err


def test_taste_by_hand() -> None:
    """Half trust after the prior's worth of events; a tag's lift is share over share."""
    user = taste({"a": PRIOR_EVENTS, "b": 0.0, "new": 0.0}, {"a": 50.0, "b": 150.0, "c": -5.0}, typical=1.0)
    assert user.trust == 0.5
    assert user.lifts == {"a": 4.0}
    assert typical_weight([96, 3, 1], [1.0, 3.0, 5.0]) == pytest.approx((96 + 27 + 25) / (96 + 9 + 5))
    assert typical_weight([5, 0, 0], [0.0, 0.0, 1.0]) == 0.0
    [best, other] = rank_products([Product("x", ("a",), 2.0), Product("y", ("b",), 4.0)], user, left_out=(), n=10)
    assert (best.product_id, best.affinity, best.score) == ("x", 2.5, 5.0)
    assert (other.product_id, other.affinity, other.score) == ("y", 0.5, 2.0)
