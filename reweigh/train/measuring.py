"""How good each ranking is, for the people who are held out while training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from reccore.weights import Weights
from recsvc.models.model import BLEND, MOST_POPULAR, Model
from recsvc.models.scorer import Scorer
from reweigh.metrics import Mean, bootstrap_mean, ndcg, recall
from reweigh.train.fitting import LENGTH, ranked
from reweigh.train.interactions import Person
from reweigh.train.lift import LiftAnswers

T = TypeVar("T")

LIFT: Final = "lift × popularity"
NEIGHBOURS: Final = "neighbours"
ALS: Final = "ALS"


@dataclass(frozen=True, slots=True)
class Quality:
    """One ranking's quality over people."""

    ndcg: Mean
    recall: Mean


def measure(model: Model, people: Sequence[Person], lift: LiftAnswers, weights: Weights) -> dict[str, Quality]:
    """Give the quality of each ranking; none without people. Lists are filled up with the most popular products."""
    if not people:
        return {}
    popular = [lift.popular(person, LENGTH) for person in people]
    lists = {MOST_POPULAR: popular, LIFT: [lift.ranked(person, LENGTH) for person in people]}
    for name, blend in ((NEIGHBOURS, 0.0), (ALS, 1.0), (BLEND, None)):
        scorer = Scorer(model, blend=blend)
        lists[name] = [
            filled(ranked(scorer, person, weights.values, LENGTH), most, LENGTH)
            for person, most in zip(people, popular, strict=True)
        ]
    relevant = [person.relevant for person in people]
    return {name: _quality(found, relevant) for name, found in lists.items()}


def filled(ranked: Sequence[T], popular: Sequence[T], n: int) -> list[T]:
    """Fill a list up with the most popular products, as the service does."""
    return [*ranked, *(each for each in popular if each not in ranked)][:n]


def lines(found: Mapping[str, Quality]) -> list[str]:
    """Print-ready lines, one a ranking."""
    head = f"{'ranking':<18} {f'NDCG@{LENGTH} (95 %)':<25} {f'recall@{LENGTH} (95 %)':<25} × popular"
    base = found[MOST_POPULAR].ndcg.mean
    rows = [
        f"{name:<18} {each.ndcg.text():<25} {each.recall.text():<25} {each.ndcg.mean / base if base else 0.0:9.2f}"
        for name, each in found.items()
    ]
    return [head, "-" * len(head), *rows]


def _quality(found: Sequence[Sequence[str]], relevant: Sequence[frozenset[str]]) -> Quality:
    pairs = list(zip(found, relevant, strict=True))
    return Quality(
        bootstrap_mean([ndcg(*pair, LENGTH) for pair in pairs]),
        bootstrap_mean([recall(*pair, LENGTH) for pair in pairs]),
    )
