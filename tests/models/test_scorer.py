"""Ranking by a model: what a score is made of, and what changes it."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsvc.models.exact import rounded, split
from recsvc.models.model import Model
from recsvc.models.scorer import ALS, NEIGHBOURS, Scored, Scorer
from tests.models.making import made_up

MODEL = made_up()
WEIGHTS = st.floats(-50, 50).filter(lambda value: abs(value) > 1e-3)
HISTORIES = st.dictionaries(st.sampled_from([*MODEL.product_ids, "unknown"]), WEIGHTS, min_size=1, max_size=12)


def plain(model: Model, history: dict[str, float], blend: float) -> dict[str, float]:
    """The definition, product by product: no candidates, no rounding."""
    place = {product_id: number for number, product_id in enumerate(model.product_ids)}
    own = {place[product_id]: weight for product_id, weight in history.items() if product_id in place}
    if not own:
        return {}
    near, sizes = np.zeros(len(place)), np.zeros(len(place))
    for i, weight in own.items():
        for j, similarity in zip(model.neighbours[i], model.similarities[i], strict=True):
            near[j] += weight * float(similarity)
            sizes[j] += abs(weight) * float(similarity)
    factors = model.factors.astype(float)
    mean = sum(map(abs, own.values())) / len(own)
    matrix = model.gram + model.parameters.regularization * np.eye(factors.shape[1])
    wanted = np.zeros(factors.shape[1])
    for i, weight in own.items():
        confidence = 1 + model.parameters.alpha * abs(weight) / mean
        matrix = matrix + (confidence - 1) * np.outer(factors[i], factors[i])
        wanted += confidence * factors[i] * (weight > 0)
    predicted = factors @ np.linalg.solve(matrix, wanted)
    near_scale, scale = sizes.max(), np.abs(predicted[list(own)]).max()
    total = (1 - blend) * (near / near_scale if near_scale > 1e-6 else 0 * near)
    total += blend * (predicted / scale if scale > 1e-6 else 0 * predicted)
    return dict(zip(model.product_ids, total.tolist(), strict=True))


@given(HISTORIES, st.sampled_from([0.0, 0.4, 1.0]))
def test_scores_are_those_of_the_definition(history: dict[str, float], blend: float) -> None:
    """Every product that scores is there, with the score of the definition, the best first."""
    found = Scorer(MODEL, blend=blend).rank(history, left_out=(), n=100)
    wanted = {name: value for name, value in plain(MODEL, history, blend).items() if value > 1e-6}
    scores = {each.product_id: each.score for each in found}
    assert all(scores[name] == pytest.approx(value, rel=1e-5, abs=1e-6) for name, value in wanted.items())
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert all(value > 0 for value in scores.values())


@given(HISTORIES)
def test_parts_add_up_exactly(history: dict[str, float]) -> None:
    """In any order, by plain addition and by exact arithmetic; asking for them changes no score."""
    scorer = Scorer(MODEL)
    explained = scorer.rank(history, left_out=(), n=10, explain=True)
    assert [each._replace(parts=()) for each in explained] == scorer.rank(history, left_out=(), n=10)
    for each in explained:
        values = [part.value for part in each.parts]
        random.Random(1).shuffle(values)
        assert sum(values) == each.score == math.fsum(values) == sum(map(Fraction, values))
        assert {part.product_id for part in each.parts} <= set(history)
        by_source = {source: sum(p.value for p in each.parts if p.source == source) for source in (NEIGHBOURS, ALS)}
        assert by_source[each.source] == max(by_source.values())


@given(HISTORIES, st.floats(1e-200, 1e200))
def test_the_unit_of_the_weights_does_not_matter(history: dict[str, float], unit: float) -> None:
    """All weights times a number gives the same scores but for rounding; by a power of two, the very same."""
    scorer = Scorer(MODEL)
    scores = {each.product_id: each.score for each in scorer.rank(history, left_out=(), n=100)}
    scaled = {product_id: weight * unit for product_id, weight in history.items()}
    again = {each.product_id: each.score for each in scorer.rank(scaled, left_out=(), n=100)}
    assert all(again.get(name, 0.0) == pytest.approx(value, abs=1e-6) for name, value in scores.items())
    doubled = {product_id: weight * 2 for product_id, weight in history.items()}
    assert scorer.rank(doubled, left_out=(), n=10) == scorer.rank(history, left_out=(), n=10)


@given(HISTORIES)
def test_the_order_of_the_history_does_not_matter(history: dict[str, float]) -> None:
    """A mapping read in another order gives the very same answer."""
    backwards = dict(reversed(history.items()))
    assert Scorer(MODEL).rank(backwards, left_out=(), n=10) == Scorer(MODEL).rank(history, left_out=(), n=10)


def test_neighbours_are_linear_in_the_weights() -> None:
    """Of two products of the history each gives its weight × similarity, whatever the other weighs."""
    model = made_up(20, blend=0.0)
    ids, scorer = model.product_ids, Scorer(model)

    def added(weights: dict[str, float]) -> dict[tuple[str, str], float]:
        """Parts, times the scale that they are divided by."""
        sums = [
            sum(
                weight * float(model.similarities[ids.index(name)][model.neighbours[ids.index(name)] == place].sum())
                for name, weight in weights.items()
            )
            for place in range(20)
        ]
        found = scorer.rank(weights, left_out=(), n=20, explain=True)
        return {(each.product_id, part.product_id): part.value * max(sums) for each in found for part in each.parts}

    before, after = added({ids[3]: 2.0, ids[5]: 7.0}), added({ids[3]: 2.0, ids[5]: 14.0})
    assert before.keys() == after.keys()
    for (product, of), value in before.items():
        assert after[product, of] == pytest.approx(value * (2 if of == ids[5] else 1), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_bounded_candidates_hold_all_neighbours_and_the_popular(seed: int) -> None:
    """With many products the same scores come out for what is looked at: neighbours, and the most popular."""
    model = made_up(300, seed=seed)
    draw = random.Random(seed)
    names = draw.sample(model.product_ids, 9)
    history = {name: draw.uniform(0.5, 9) for name in names}
    left_out = {*names[:4], *draw.sample(model.product_ids, 20), "unknown"}
    everything = {each.product_id: each for each in Scorer(model).rank(history, left_out=left_out, n=300)}
    bounded = Scorer(model, all_up_to=50, most_popular=40).rank(history, left_out=left_out, n=300)
    places = [model.product_ids.index(name) for name in names]
    near = {model.product_ids[place] for place in model.neighbours[places].ravel().tolist()}
    looked_at = (near | set(model.product_ids[:40])) - left_out
    assert {each.product_id for each in bounded} == {name for name in everything if name in looked_at}
    assert all(each == everything[each.product_id] for each in bounded)
    few = Scorer(model, all_up_to=50, most_popular=40).rank(history, left_out=left_out, n=5)
    assert few == bounded[:5]


def test_what_is_disliked_pulls_down() -> None:
    """A negative weight lowers what is near to its product, and adds nothing of its own by the factors."""
    scorer = Scorer(MODEL)
    liked, disliked = MODEL.product_ids[2], MODEL.product_ids[4]
    with_dislike = scorer.rank({liked: 3.0, disliked: -2.0}, left_out=(), n=100, explain=True)
    parts = [part for each in with_dislike for part in each.parts if part.product_id == disliked]
    assert parts
    assert all(part.value < 0 and part.source == NEIGHBOURS for part in parts)
    assert scorer.rank({disliked: -2.0}, left_out=(), n=10) == []


def test_what_nothing_is_known_of() -> None:
    """No history, unknown products and weights of 0 give nothing; what is not finite is named."""
    scorer = Scorer(MODEL)
    for history in ({}, {"unknown": 5.0}, {MODEL.product_ids[0]: 0.0}):
        assert scorer.rank(history, left_out=(), n=10) == []
    with pytest.raises(ValueError, match=r"'p\d+' weighs inf"):
        scorer.rank({MODEL.product_ids[0]: math.inf}, left_out=(), n=10)
    assert scorer.rank({MODEL.product_ids[0]: 1e308, MODEL.product_ids[1]: 1e308}, left_out=(), n=10)


def test_left_out_are_not_shown() -> None:
    """Neither what is left out, nor a name that the model doesn't know."""
    scorer, first = Scorer(MODEL), MODEL.product_ids[0]
    found = scorer.rank({first: 1.0}, left_out=(), n=3)
    without = scorer.rank({first: 1.0}, left_out=[found[0].product_id, "unknown"], n=3)
    assert without[:2] == found[1:]
    assert isinstance(found[0], Scored)


AMOUNTS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5).filter(any)


@given(st.floats(-1_000, 1_000), AMOUNTS)
def test_shares_add_up_exactly(value: float, amounts: list[float]) -> None:
    """A part is shared out by event type so that nothing is left over, in proportion where that says something."""
    part = float(rounded(np.array([value]))[0])
    shares = split(part, amounts)
    assert sum(shares) == part == sum(reversed(shares))
    total, size = sum(amounts), sum(map(abs, amounts))
    if abs(total) > 0.01 * size:
        wanted = [part * amount / total for amount in amounts]
    elif abs(total) < 0.0001 * size:
        wanted = [part * abs(amount) / size for amount in amounts]
    else:
        return
    assert shares == pytest.approx(wanted, abs=1e-8)


def test_nothing_is_shared_out_by_nothing() -> None:
    """Without amounts only 0 can be shared out; what cancels out is shared by size."""
    assert split(0.0, [0.0, 0.0]) == [0.0, 0.0]
    assert split(1.0, [1.0, 0.0, -1.0]) == [0.5, 0.0, 0.5]
    with pytest.raises(ValueError, match="other than 0 is required"):
        split(1.0, [0.0, 0.0])
