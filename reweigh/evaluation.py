"""`reweigh eval`: how good the answers would have been, beside the most popular products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from reccore.weights import Weights
from reweigh.answers import Answers
from reweigh.dataset import Dataset, Flags, Integers
from reweigh.errors import CommandError
from reweigh.metrics import Mean, bootstrap_mean, ndcg, recall

OURS: Final = "reweigh"
POPULAR: Final = "most popular"


@dataclass(frozen=True, slots=True)
class Quality:
    """One ranking's quality; ``coverage`` is the part of the recommendable products that anybody was shown."""

    ndcg: Mean
    recall: Mean
    coverage: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both rankings under one set of weights; ``gain`` is the paired difference of NDCG, person by person.

    ``people`` without history get the same list from both.
    """

    weights: str
    people: int
    people_with_history: int
    n: int
    qualities: Mapping[str, Quality]
    gain: Mean
    recall_gain: Mean

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON takes it."""
        return asdict(self)

    @property
    def relative_gain(self) -> float:
        """The gain over most popular's NDCG, as a fraction."""
        popular = self.qualities[POPULAR].ndcg.mean
        return self.gain.mean / popular if popular else 0.0


def compare(
    data: Dataset,
    held_out: Flags,
    weights: Weights,
    *,
    label: str,
    n: int = 10,
    relevant_types: Sequence[int] | None = None,
    most_people: int | None = None,
) -> Comparison:
    """Replay what isn't held out, answer everybody, and measure the answers by what is.

    Relevant are the distinct products of a person's held-out events (of ``relevant_types``, by default all), each of
    gain 1, without those that the person had bought before, which are never recommended. Only persons with something
    relevant count; of more than ``most_people`` a sample is taken. Raises :class:`CommandError` when there is nobody.
    """
    answers = Answers(data, ~held_out, weights)
    wanted = held_out if relevant_types is None else held_out & np.isin(data.types, list(relevant_types))
    relevant = relevant_products(data, wanted, answers)
    people = sorted(relevant)
    if not people:
        raise CommandError("nobody has held-out events to measure by: choose another point in time with --at")
    if most_people is not None and len(people) > most_people:
        people = sorted(np.random.default_rng(0).choice(people, most_people, replace=False).tolist())
    lists = {
        OURS: [answers.recommended(user, n) for user in people],
        POPULAR: [answers.popular(user, n) for user in people],
    }
    measured = {name: _measure(ranked, [relevant[user] for user in people], n) for name, ranked in lists.items()}
    return Comparison(
        weights=label,
        people=len(people),
        people_with_history=len(set(people) & set(data.users[~held_out].tolist())),
        n=n,
        qualities={name: _quality(lists[name], *measured[name], answers.products) for name in lists},
        gain=_paired(measured, 0),
        recall_gain=_paired(measured, 1),
    )


def relevant_products(data: Dataset, wanted: Flags, answers: Answers) -> dict[int, set[int]]:
    """The relevant products by person; a person without any is left out."""
    order = np.argsort(data.users[wanted], kind="stable")
    users: Integers = data.users[wanted][order]
    products: Integers = data.products[wanted][order]
    found: dict[int, set[int]] = {}
    for user, product in zip(users.tolist(), products.tolist(), strict=True):
        found.setdefault(user, set()).add(product)
    left = {user: those - set(answers.bought(user).tolist()) for user, those in found.items()}
    return {user: those for user, those in left.items() if those}


def _measure(ranked: Sequence[Sequence[int]], relevant: Sequence[set[int]], n: int) -> tuple[list[float], list[float]]:
    pairs = list(zip(ranked, relevant, strict=True))
    return [ndcg(*pair, n) for pair in pairs], [recall(*pair, n) for pair in pairs]


def _quality(
    ranked: Sequence[Sequence[int]], ndcgs: Sequence[float], recalls: Sequence[float], products: int
) -> Quality:
    shown = {product for each in ranked for product in each}
    return Quality(bootstrap_mean(ndcgs), bootstrap_mean(recalls), len(shown) / products if products else 0.0)


def _paired(measured: Mapping[str, tuple[list[float], list[float]]], which: int) -> Mean:
    pairs = zip(measured[OURS][which], measured[POPULAR][which], strict=True)
    return bootstrap_mean([ours - popular for ours, popular in pairs])


def table(comparisons: Sequence[Comparison]) -> str:
    """Print-ready lines: two a comparison, and the gain of ours."""
    n = comparisons[0].n
    head = f"{'weights':<16} {'ranking':<13} {f'NDCG@{n} (95 %)':<24} {f'recall@{n} (95 %)':<24} coverage"
    lines = [head, "-" * len(head)]
    for each in comparisons:
        for number, (name, quality) in enumerate(each.qualities.items()):
            cells = f"{_shown(quality.ndcg):<24} {_shown(quality.recall):<24} {quality.coverage:7.1%}"
            lines.append(f"{each.weights if number == 0 else '':<16} {name:<13} {cells}")
        lines.append(f"{'':<16} {'difference':<13} {_shown(each.gain, '+'):<24} {_shown(each.recall_gain, '+'):<24}")
        people = f"{each.people:,} people, {each.people_with_history:,} of them with a history"
        lines.append(f"{'':<30} {each.relative_gain:+.1%} NDCG, {people}")
    return "\n".join(line.rstrip() for line in lines)


def _shown(mean: Mean, sign: str = "") -> str:
    return f"{mean.mean:{sign}.4f} ({mean.low:{sign}.4f} – {mean.high:{sign}.4f})"
