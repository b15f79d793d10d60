"""Training on small sets: neighbours by the formula, factors as ``implicit`` has them, the blend that measures best."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from recsvc.models.encoding import decode, encode
from recsvc.models.scorer import ALS, Scorer
from reweigh.errors import CommandError
from reweigh.train import neighbours as nearby
from reweigh.train.factors import confidences
from reweigh.train.fitting import Choice, best_blend, blended, fit, ranked
from reweigh.train.interactions import Interactions, Person
from reweigh.train.neighbours import nearest
from tests.models.making import two_tastes

WEIGHTS = (1.0, 3.0, 5.0)


def quiet(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@pytest.mark.parametrize("asymmetry", [0.4, 0.5])
def test_neighbours_are_those_of_the_formula(asymmetry: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block by block as all at once: the most similar first, of equal ones the first; short rows are filled up."""
    draw = np.random.default_rng(1)
    dense = draw.integers(0, 6, (40, 25)) * (draw.random((40, 25)) < 0.15)
    dense[:, 7] = 0
    dense[:, 9] = dense[:, 8]  # equally similar to everything
    matrix = sparse.csr_matrix(dense.astype(np.float32))
    norms = np.maximum((dense**2).sum(axis=0), 1).astype(float)
    wanted = (dense.T @ dense) / (norms[:, None] ** asymmetry * norms[None, :] ** (1 - asymmetry))
    np.fill_diagonal(wanted, 0)
    told: list[tuple[str, int, int]] = []
    for cells in (16_000_000, 60):
        monkeypatch.setattr(nearby, "_CELLS_A_BLOCK", cells)
        places, similarities = nearest(matrix, 6, asymmetry, lambda *each: told.append(each))
        assert told[-1] == ("neighbours of products", 25, 25)
        for own in range(25):
            near = [j for j in np.lexsort((np.arange(25), -wanted[own].round(6))).tolist() if wanted[own, j] > 0][:6]
            assert places[own].tolist() == near + [own] * (6 - len(near))
            assert similarities[own] == pytest.approx([*wanted[own, near], *[0] * (6 - len(near))], rel=1e-5)


def test_of_crowded_histories_the_heaviest_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who has to do with everything makes nothing similar but what counts most."""
    monkeypatch.setattr(nearby, "MOST_PRODUCTS_A_PERSON", 2)
    matrix = sparse.csr_matrix(np.array([[1, 9, 8, 2], [3, 0, 0, 4]], dtype=np.float32))
    _, similarities = nearest(matrix, 3, 0.5, quiet)
    assert (similarities > 0).sum(axis=1).tolist() == [1, 1, 1, 1]
    assert matrix.nnz == 6


def test_folding_in_is_what_the_library_does() -> None:
    """Scores and parts are those of implicit's own recalculation and explanation, for likes and dislikes."""
    interactions = two_tastes()
    model = fit(interactions, WEIGHTS, Choice(rank=8, regularization=0.5, alpha=3.0), quiet, blend=1.0)
    with threadpool_limits(1, "blas"):
        library = AlternatingLeastSquares(factors=8, alpha=1.0, regularization=0.5)
    library.item_factors = np.array(model.factors)
    ids = model.product_ids
    for history in ({ids[1]: 1.0, ids[4]: 5.0, ids[6]: 2.5}, {ids[1]: 1.0, ids[4]: 5.0, ids[6]: -2.5}):
        mean = sum(map(abs, history.values())) / 3
        row = np.zeros((1, len(ids)), dtype=np.float32)
        for name, weight in history.items():
            row[0, ids.index(name)] = np.sign(weight) * (1 + 3.0 * abs(weight) / mean)
        users = sparse.csr_matrix(row)
        wanted = model.factors @ library.recalculate_user(0, users)
        scale = np.abs(wanted[[ids.index(name) for name in history]]).max()
        found = Scorer(model).rank(history, left_out=(), n=20, explain=True)
        assert {each.source for each in found} == {ALS}
        assert len(found) == (wanted > 1e-6).sum()
        for each in found:
            place = ids.index(each.product_id)
            assert each.score == pytest.approx(wanted[place] / scale, abs=1e-4)
            total, parts, _ = library.explain(0, users, place)
            assert each.score == pytest.approx(total / scale, abs=1e-4)
            shares = {part.product_id: part.value for part in each.parts}
            assert shares == pytest.approx({ids[i]: value / scale for i, value in parts}, abs=1e-4)


def test_confidences_have_no_unit() -> None:
    """1 + alpha for what weighs as the person's mean, whatever the weights' unit."""
    matrix = sparse.csr_matrix(np.array([[1, 3, 0], [0, 0, 7]], dtype=np.float32))
    for unit in (1, 1_000):
        assert confidences(matrix * unit, 2.0).toarray() == pytest.approx(np.array([[2, 4, 0], [0, 0, 3]]))
    assert matrix.toarray().max() == 7


def people(interactions: Interactions, hide: int = 1) -> list[Person]:
    """Everybody, with the last products hidden."""
    found = []
    for user in range(interactions.people):
        rows = np.flatnonzero(interactions.users == user).tolist()
        named = [interactions.product_ids[interactions.products[row]] for row in rows]
        counts = {n: tuple(interactions.counts[r].tolist()) for n, r in zip(named, rows, strict=True)}
        known = dict(list(counts.items())[:-hide])
        found.append(Person(known, frozenset(known), frozenset(named[-hide:])))
    return found


def test_training_finds_the_tastes() -> None:
    """Whoever takes even products is shown even ones, by neighbours, by factors and by the blend."""
    interactions = two_tastes()
    model = fit(interactions, WEIGHTS, Choice(rank=2, regularization=0.1), quiet)
    matrix = interactions.weighted(WEIGHTS)
    popularity = dict(zip(interactions.product_ids, np.asarray(matrix.sum(axis=0)).ravel().tolist(), strict=True))
    assert list(model.product_ids) == sorted(popularity, key=lambda each: (-popularity[each], each))
    for blend in (0.0, 0.5, 1.0):
        scorer = Scorer(model, blend=blend)
        for number, person in enumerate(people(interactions)):
            best = ranked(scorer, person, WEIGHTS, 3)
            assert len(best) == 3
            assert all(int(each[1:]) % 2 == number % 2 for each in best)
    assert decode(encode(model), 1).training["events"] == interactions.events


def test_training_is_repeatable_and_knows_no_unit() -> None:
    """The same input gives the same blobs but for the time; weights times a power of two the same model."""
    interactions, choice = two_tastes(), Choice(rank=4)
    models = [fit(interactions, tuple(unit * each for each in WEIGHTS), choice, quiet) for unit in (1, 1, 4)]
    blobs = [encode(replace(each, trained_at="2026-01-05", training={})) for each in models]
    assert blobs[0] == blobs[1] == blobs[2]


def test_the_best_blend_is_taken() -> None:
    """What ranks the hidden products best; of equal ones the one nearer to neighbours."""
    interactions = two_tastes()
    model = fit(interactions, WEIGHTS, Choice(rank=4), quiet)
    only_neighbours = replace(model, factors=np.zeros_like(model.factors), gram=np.zeros_like(model.gram))
    only_factors = replace(model, similarities=np.zeros_like(model.similarities))
    assert best_blend(only_neighbours, people(interactions), WEIGHTS, quiet) == 0.0
    assert best_blend(only_factors, people(interactions), WEIGHTS, quiet) > 0.0
    assert best_blend(blended(model, 0.7), [], WEIGHTS, quiet) == 0.7


@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (-1.0, -1.0, -1.0)])
def test_nothing_to_train_on(weights: Any) -> None:
    """Without an event that weighs more than 0."""
    with pytest.raises(CommandError, match="nothing to train on"):
        fit(two_tastes(), weights, Choice(), quiet)
