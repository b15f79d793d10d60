"""The score of a tag or a product: counts by event type, weighed.

score = Σ over event types of weight × count, summed in the order of the event types from 0.0 in IEEE doubles. The order
is part of the rule: whoever scores must come to the same double.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_LARGEST = sys.float_info.max


def score(counts: Sequence[int], weights: Sequence[float]) -> float:
    """Weigh one row of counts; counts and weights in the order of the event types, a shorter row is padded with 0.

    A sum beyond the doubles is held at the largest of them, so that every score is a JSON number.
    """
    total = 0.0
    for count, weight in zip(counts, weights, strict=False):
        total += weight * count
    return min(max(total, -_LARGEST), _LARGEST) if total == total else 0.0


def format_score(value: float) -> str:
    """Give the shortest text that reads back to the same double, an integral one without a fraction (``7``)."""
    return str(int(value)) if value.is_integer() else repr(value)
