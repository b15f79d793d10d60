"""Numbers whose sums are exact in every order: multiples of 2⁻³², of a magnitude below 2²¹.

A double has 53 bits, so adding such numbers rounds nothing. Whoever adds up the parts of a score, in whatever language,
comes to the score itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

_STEPS: Final = 2.0**32
_CANCELLED: Final = 1e-3


def rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Round to the next such numbers."""
    on_grid: npt.NDArray[np.float64] = np.rint(values * _STEPS) / _STEPS
    return on_grid


def split(part: float, amounts: Sequence[float]) -> list[float]:
    """Share out a part of a score in proportion to ``amounts``, e.g. weight × count of each event type.

    ``part`` is such a number and so are the shares, of which the largest takes what rounding leaves: they add up
    exactly. An amount of 0 gets 0. Where amounts of both signs nearly cancel out (within a thousandth of their sizes),
    what they add up to says nothing, and the part is shared out in proportion to their sizes. Raises ``ValueError``
    where all amounts are 0 and the part isn't.
    """
    if len(amounts) == 1 and amounts[0]:  # as nearly always: a product that was viewed only
        return [part]
    greatest = max(map(abs, amounts), default=0.0) or 1.0
    amounts = [amount / greatest for amount in amounts]  # so that their sum is finite
    sizes = [abs(amount) for amount in amounts]
    if not any(sizes):
        if part:
            raise ValueError(f"{part} can't be shared out by {list(amounts)}: an amount other than 0 is required")
        return [0.0] * len(amounts)
    shared = amounts if abs(sum(amounts)) > sum(sizes) * _CANCELLED else sizes
    total = sum(shared)
    shares = [float(np.rint(part * (amount / total) * _STEPS)) / _STEPS for amount in shared]
    largest = max(range(len(amounts)), key=sizes.__getitem__)
    shares[largest] += part - sum(shares)
    return shares
