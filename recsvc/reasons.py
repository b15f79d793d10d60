"""Why: the parts that a score is the sum of, which add up to it exactly."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reccore.encoding import counts_of_row, split_counts
from recsvc.models.exact import split
from recsvc.models.scorer import Part
from recsvc.numbers import number

_TURNS: Final = 8
_LARGEST: Final = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Weighed:
    """One kind of a user's acts with a product: how often, or for a rating which, what each weighs, and the product."""

    event_type: str
    count: float
    weight: float
    amount: float

    def as_dict(self, value: float) -> dict[str, Any]:
        """Describe a part of a score that comes from these."""
        return {
            "event_type": self.event_type,
            "count": number(self.count),
            "weight": number(self.weight),
            "value": number(value),
        }


def weighed(types: Sequence[str], row: str | None, weights: Sequence[float]) -> list[Weighed]:
    """Take a row of counts apart; types that did not happen are left out."""
    counts = split_counts(counts_of_row(row)) if row else ()
    return [
        Weighed(name, count, weight, max(-_LARGEST, min(weight * count, _LARGEST)))
        for name, count, weight in zip(types, counts, weights, strict=False)
        if count
    ]


def of_counts(types: Sequence[str], row: str, weights: Sequence[float]) -> list[dict[str, Any]]:
    """Give the parts of a tag's score: Σ weight × count. Added up in this order they are the score, bit by bit."""
    return [each.as_dict(each.amount) for each in weighed(types, row, weights)]


def of_popularity(
    types: Sequence[str], counts: Sequence[int], weights: Sequence[float], affinity: float, score: float
) -> list[dict[str, Any]]:
    """Give the parts of popularity × affinity: everybody's events by type, each times weight and affinity.

    What rounding leaves is in the largest, so that the exact sum of the parts (``math.fsum``) is the score.
    """
    acts = [
        Weighed(name, count, weight, weight * count)
        for name, count, weight in zip(types, counts, weights, strict=False)
        if count and weight
    ]
    values = [each.amount * affinity for each in acts]
    largest = max(range(len(values)), key=lambda place: abs(values[place]), default=None)
    for _ in range(_TURNS):
        left = score - math.fsum(values) if all(map(math.isfinite, values)) else 0.0
        if largest is None or not left:
            break
        values[largest] += left
    return [each.as_dict(value) for each, value in zip(acts, values, strict=True)]


def of_model(parts: Sequence[Part], acts: Mapping[str, Sequence[Weighed]]) -> list[dict[str, Any]]:
    """Give the parts of a model's score, by product of the history, ranking and event type.

    ``acts`` are the user's, by product. Parts are multiples of 2⁻³², so adding them up in any order rounds nothing.
    """
    found = []
    for part in parts:
        shares = split(part.value, [each.amount for each in acts[part.product_id]])
        found += [
            {"product_id": part.product_id, "source": part.source, **each.as_dict(share)}
            for each, share in zip(acts[part.product_id], shares, strict=True)
            if share
        ]
    return found
