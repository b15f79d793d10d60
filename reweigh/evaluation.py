"""`reweigh eval`: how good the answers would have been by each ranking, beside the most popular products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from reccore.weights import Weights
from recsvc.models.model import BLEND, MOST_POPULAR
from reweigh.answers import Answers
from reweigh.dataset import Dataset, Flags, Integers
from reweigh.errors import CommandError
from reweigh.metrics import Mean, bootstrap_mean, ndcg, recall
from reweigh.progress import Tell
from reweigh.train.fitting import Choice
from reweigh.train.measuring import ALS, LIFT, NEIGHBOURS, filled
from reweigh.train.model_answers import ModelAnswers

HISTORY: Final = "history"
PURCHASES: Final = "purchases"


@dataclass(frozen=True, slots=True)
class Quality:
    """One ranking's quality; ``coverage`` is the part of the recommendable products that anybody was shown.

    ``gain`` is the paired difference of NDCG to most popular, person by person.
    """

    ndcg: Mean
    recall: Mean
    coverage: float
    gain: Mean


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rankings under one set of weights; ``blend`` is the factors' part, chosen on known events.

    To ``people`` without history each ranking shows the most popular products.
    """

    weights: str
    people: int
    people_with_history: int
    n: int
    left_out: str
    blend: float
    qualities: Mapping[str, Quality]

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON takes it."""
        return asdict(self)

    def ratio(self, name: str) -> float:
        """A ranking's NDCG over that of most popular."""
        popular = self.qualities[MOST_POPULAR].ndcg.mean
        return self.qualities[name].ndcg.mean / popular if popular else 0.0


def compare(
    data: Dataset,
    held_out: Flags,
    weights: Weights,
    *,
    label: str,
    tell: Tell,
    n: int = 10,
    relevant_types: Sequence[int] | None = None,
    most_people: int | None = None,
    left_out: str = HISTORY,
    choice: Choice | None = None,
) -> Comparison:
    """Replay what isn't held out, answer everybody, and measure the answers by what is.

    Nobody is shown what is left out: all products of the person's history, or the purchases. Relevant are the distinct
    products of a person's held-out events (of ``relevant_types``, by default all), each of gain 1, without those left
    out. Only persons with something relevant count; of more than ``most_people`` a sample is taken. Models are trained
    on what isn't held out. Raises :class:`CommandError` when there is nobody.
    """
    by_type = "purchase" if left_out == PURCHASES else None
    answers = Answers(data, ~held_out, weights, by_type)
    wanted = held_out if relevant_types is None else held_out & np.isin(data.types, list(relevant_types))
    relevant = relevant_products(data, wanted, answers)
    people = sorted(relevant)
    if not people:
        raise CommandError("nobody has held-out events to measure by: choose another point in time with --at")
    if most_people is not None and len(people) > most_people:
        people = sorted(np.random.default_rng(0).choice(people, most_people, replace=False).tolist())
    models = ModelAnswers(data, ~held_out, weights, choice or Choice(), tell, by_type)
    lists = {MOST_POPULAR: [answers.popular(user, n) for user in people]}
    lists[LIFT] = [answers.recommended(user, n) for user in people]
    for name, blend in ((NEIGHBOURS, 0.0), (ALS, 1.0), (BLEND, models.blend)):
        lists[name] = [
            filled(models.ranked(user, set(answers.left_out(user).tolist()), n, blend), popular, n)
            for user, popular in zip(people, lists[MOST_POPULAR], strict=True)
        ]
    measured = {name: _measure(ranked, [relevant[user] for user in people], n) for name, ranked in lists.items()}
    popular_ndcgs, _ = measured[MOST_POPULAR]
    return Comparison(
        weights=label,
        people=len(people),
        people_with_history=len(set(people) & set(data.users[~held_out].tolist())),
        n=n,
        left_out=left_out,
        blend=models.blend,
        qualities={
            name: Quality(
                bootstrap_mean(ndcgs),
                bootstrap_mean(recalls),
                _coverage(lists[name], answers.products),
                bootstrap_mean([ours - popular for ours, popular in zip(ndcgs, popular_ndcgs, strict=True)]),
            )
            for name, (ndcgs, recalls) in measured.items()
        },
    )


def relevant_products(data: Dataset, wanted: Flags, answers: Answers) -> dict[int, set[int]]:
    """The relevant products by person; a person without any is left out."""
    order = np.argsort(data.users[wanted], kind="stable")
    users: Integers = data.users[wanted][order]
    products: Integers = data.products[wanted][order]
    found: dict[int, set[int]] = {}
    for user, product in zip(users.tolist(), products.tolist(), strict=True):
        found.setdefault(user, set()).add(product)
    left = {user: those - set(answers.left_out(user).tolist()) for user, those in found.items()}
    return {user: those for user, those in left.items() if those}


def _measure(ranked: Sequence[Sequence[int]], relevant: Sequence[set[int]], n: int) -> tuple[list[float], list[float]]:
    pairs = list(zip(ranked, relevant, strict=True))
    return [ndcg(*pair, n) for pair in pairs], [recall(*pair, n) for pair in pairs]


def _coverage(ranked: Sequence[Sequence[int]], products: int) -> float:
    return len({product for each in ranked for product in each}) / products if products else 0.0


def table(comparisons: Sequence[Comparison]) -> str:
    """Print-ready lines, one a ranking; the last columns compare it with most popular."""
    n = comparisons[0].n
    head = (
        f"{'weights':<10} {'ranking':<18} {f'NDCG@{n} (95 %)':<25} {f'recall@{n} (95 %)':<25} {'coverage':<9} "
        "× popular, difference (95 %)"
    )
    lines = [head, "-" * len(head)]
    for each in comparisons:
        for number, (name, quality) in enumerate(each.qualities.items()):
            cells = f"{quality.ndcg.text():<25} {quality.recall.text():<25} {quality.coverage:8.1%}"
            gain = "" if name == MOST_POPULAR else f"  {each.ratio(name):.2f}  {quality.gain.text('+')}"
            lines.append(f"{each.weights if number == 0 else '':<10} {name:<18} {cells}{gain}")
        lines.append(
            f"{'':<10} {each.people:,} people, {each.people_with_history:,} of them with a history, nobody is shown "
            f"products of the {each.left_out}; blend: {1 - each.blend:.1f} neighbours + {each.blend:.1f} ALS"
        )
    return "\n".join(line.rstrip() for line in lines)
