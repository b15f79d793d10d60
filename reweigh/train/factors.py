"""Item factors of implicit-feedback ALS (Hu, Koren and Volinsky 2008), by the library ``implicit``."""

from __future__ import annotations

from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reweigh.progress import Tell


def confidences(matrix: Any, alpha: float) -> Any:
    """Give 1 + alpha × weight over the person's mean weight, as the scorer does (:mod:`recsvc.models.scorer`)."""
    sizes = np.diff(matrix.indptr)
    means = np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel() / np.maximum(sizes, 1)
    found = matrix.copy()
    found.data = (1.0 + alpha * (matrix.data / np.repeat(means, sizes))).astype(np.float32)
    return found


def item_factors(
    matrix: Any, *, rank: int, alpha: float, regularization: float, iterations: int, tell: Tell
) -> NDArray[np.float32]:
    """Factorize Σ weight × count (people × products, all above 0); the same each time for the same input."""
    with threadpool_limits(1, "blas"):  # implicit has threads of its own, which those of BLAS would slow down
        als = AlternatingLeastSquares(
            factors=rank,
            alpha=1.0,
            regularization=regularization,
            iterations=iterations,
            random_state=0,
        )
        als.fit(
            confidences(matrix, alpha),
            show_progress=False,
            callback=lambda number, _seconds, _loss: tell("iterations of ALS", number + 1, iterations),
        )
    factors: NDArray[np.float32] = np.ascontiguousarray(als.item_factors, dtype=np.float32)
    return factors
