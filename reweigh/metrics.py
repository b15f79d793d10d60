"""Measures of a ranked list, and how sure a mean over people is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import log2
from typing import Final

import numpy as np

RESAMPLES: Final = 2_000


def ndcg(ranked: Sequence[object], relevant: Collection[object], n: int) -> float:
    """Normalised discounted cumulative gain of the first ``n``, every relevant product of gain 1 (Järvelin 2002).

    Σ 1/log2(place + 1) over the hits, over what the best list of ``n`` would have; 0 without anything relevant.
    """
    gained = sum(1 / log2(place + 1) for place, product in enumerate(ranked[:n], 1) if product in relevant)
    best = sum(1 / log2(place + 1) for place in range(1, min(n, len(relevant)) + 1))
    return gained / best if best else 0.0


def recall(ranked: Sequence[object], relevant: Collection[object], n: int) -> float:
    """The part of the relevant products that stands among the first ``n``; 0 without anything relevant."""
    return sum(product in relevant for product in ranked[:n]) / len(relevant) if relevant else 0.0


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over people with its 95 % interval."""

    mean: float
    low: float
    high: float

    def text(self, sign: str = "") -> str:
        """The mean, and the interval in brackets."""
        return f"{self.mean:{sign}.4f} ({self.low:{sign}.4f} – {self.high:{sign}.4f})"


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> Mean:
    """The mean of ``values`` with the percentile bootstrap's 95 % interval: people are drawn anew 2,000 times."""
    sample = np.asarray(values, dtype=np.float64)
    draw = np.random.default_rng(seed)
    means = [float(sample[draw.integers(0, len(sample), len(sample))].mean()) for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Mean(float(sample.mean()), float(low), float(high))
