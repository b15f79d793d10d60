"""A trained model as one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recsvc.errors import BrokenModel

BLEND: Final = "blend"
MOST_POPULAR: Final = "most popular"
"""What training calls the rankings by a model and by everybody's events, where it says which did best."""

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """How a model is applied.

    Args:
        blend: The factors' part of the blend: 0 is neighbours alone, 1 factors alone.
        alpha: Confidence in a product of the history is 1 + alpha × its weight over the history's mean weight.
        regularization: λ of the factors.
    """

    blend: float
    alpha: float
    regularization: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Item-to-item neighbours and ALS item factors of the same products.

    Args:
        product_ids: The products, the most popular first; everything else goes by their places here.
        neighbours: Places of each product's neighbours, products × neighbours; its own place fills up a short row.
        similarities: Of the same shape; 0 where the row is filled up.
        factors: Products × factors.
        gram: YᵀY of the factors Y in double precision, factors × factors.
        parameters: How it is applied.
        trained_at: ISO 8601.
        version: Given by the store; 0 before.
        training: What it was trained on and how it did, as JSON takes it.

    Raises:
        BrokenModel: Its parts don't belong together, or hold what is no number.
    """

    product_ids: tuple[str, ...]
    neighbours: Numbers
    similarities: Floats
    factors: Floats
    gram: Doubles
    parameters: Parameters
    trained_at: str
    version: int = 0
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """Which ranking training has measured to do best; the model's own where it did not say."""
        return str(self.training.get("best") or BLEND)

    def __post_init__(self) -> None:
        products = len(self.product_ids)
        width, rank = self.neighbours.shape[-1], self.factors.shape[-1]
        for name, found, dtype, shape in (
            ("neighbours", self.neighbours, np.int32, (products, width)),
            ("similarities", self.similarities, np.float32, (products, width)),
            ("factors", self.factors, np.float32, (products, rank)),
            ("gram", self.gram, np.float64, (rank, rank)),
        ):
            if found.dtype != dtype or found.shape != shape:
                wanted = f"{np.dtype(dtype)} of shape {shape}"
                raise BrokenModel(f"{name} is {found.dtype} of shape {found.shape}: {wanted} is allowed")
            if not np.isfinite(found).all():
                raise BrokenModel(f"{name} holds what is not finite")
            found.setflags(write=False)
        if not products or len(set(self.product_ids)) < products:
            raise BrokenModel("product_ids: at least one, each once, is allowed")
        if self.neighbours.size and not (self.neighbours.min() >= 0 and self.neighbours.max() < products):
            raise BrokenModel(f"neighbours: places from 0 to {products - 1} are allowed")
        try:
            datetime.fromisoformat(self.trained_at)
        except ValueError as exc:
            raise BrokenModel(f"trained_at: {self.trained_at!r}: a time in ISO 8601 is allowed") from exc
        used = self.parameters
        if not (0 <= used.blend <= 1 and 0 <= used.alpha < np.inf and 0 < used.regularization < np.inf):
            raise BrokenModel(f"{used}: blend from 0 to 1, alpha ≥ 0 and regularization > 0 are allowed")
