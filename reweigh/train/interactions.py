"""Everybody's events by user, product and type, as arrays: what a model is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from reweigh.dataset import Dataset, Flags

Counts = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Interactions:
    """One row for each user and product that had to do with each other; ``counts`` is rows × event types.

    ``users`` are numbers below ``people``, ``products`` places in ``product_ids``, which are in ascending order.
    """

    product_ids: tuple[str, ...]
    people: int
    users: NDArray[np.int32]
    products: NDArray[np.int32]
    counts: Counts

    @property
    def events(self) -> int:
        """How many events are counted."""
        return int(self.counts.sum(dtype=np.int64))

    def weighted(self, weights: Sequence[float]) -> Any:
        """Give Σ weight × count where that is above 0, as a CSR matrix of people × products, in single precision."""
        values = np.zeros(len(self.users), dtype=np.float64)
        largest = max(map(abs, weights)) or 1.0  # scaled by it, nothing overflows
        for column, weight in enumerate(weights):
            values += (weight / largest) * self.counts[:, column]
        kept = values > 0
        cells = (values[kept].astype(np.float32), (self.users[kept], self.products[kept]))
        return sparse.csr_matrix(cells, shape=(self.people, len(self.product_ids)))


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to measure by: known events by product and type, what is left out, and what should be found."""

    counts: Mapping[str, tuple[int, ...]]
    left_out: frozenset[str]
    relevant: frozenset[str]
    user_id: str = ""


def interactions_of(data: Dataset, chosen: Flags) -> Interactions:
    """Count the events of a data set that are flagged."""
    products = len(data.product_ids)
    pairs, rows = np.unique(data.users[chosen] * products + data.products[chosen], return_inverse=True)
    width = len(data.event_types.names)
    counts = np.bincount(rows * width + data.types[chosen], minlength=len(pairs) * width)
    return Interactions(
        product_ids=data.product_ids,
        people=len(data.user_ids),
        users=(pairs // products).astype(np.int32),
        products=(pairs % products).astype(np.int32),
        counts=counts.reshape(len(pairs), width).astype(np.int32),
    )


def people_of(data: Dataset, known: Flags, held_out: Flags, left_out: int | None = None) -> list[Person]:
    """Give everybody who has something held out that is not left out.

    Left out is what somebody is known to have had to do with, or with ``left_out`` by that event type.
    """
    interactions = interactions_of(data, known)
    bounds = np.searchsorted(interactions.users, np.arange(interactions.people + 1)).tolist()
    wanted: dict[int, set[str]] = {}
    for user, product in zip(data.users[held_out].tolist(), data.products[held_out].tolist(), strict=True):
        wanted.setdefault(user, set()).add(data.product_ids[product])
    found = []
    for user, products in sorted(wanted.items()):
        own = slice(bounds[user], bounds[user + 1])
        named = [data.product_ids[product] for product in interactions.products[own].tolist()]
        counts = dict(zip(named, map(tuple, interactions.counts[own].tolist()), strict=True))
        leaves = frozenset(each for each, row in counts.items() if left_out is None or row[left_out])
        if left := products - leaves:
            found.append(Person(counts, leaves, frozenset(left)))
    return found
