"""Everybody's counts by product and by tag, held in memory as arrays, with the catalogue.

``Collected`` is filled by the thread that reads Redis; ``Snapshot`` is what requests use: it never changes, and one
reference to it is swapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from reccore.canary import CANARY

Integers = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ProductStructure:
    """What changes rarely: who the products are and which tags they have.

    ``tags[k]`` holds, for each product, the index in ``tag_names`` of its k-th tag; ``len(tag_names)`` stands for none.
    ``ids`` are in ascending order.
    """

    ids: tuple[str, ...]
    index: Mapping[str, int]
    tag_names: tuple[str, ...]
    tag_index: Mapping[str, int]
    tags: tuple[Indices, ...]
    tags_each: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Described:
    """What the catalogue says of a product, but for what is only read when somebody asks for it."""

    name: str | None = None
    category: str | None = None
    price: float | None = None
    tags: tuple[str, ...] = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Described:
        """Read a row of the catalogue, which others may have written."""
        name, category, price = row.get("name"), row.get("category"), row.get("price")
        return cls(
            str(name) if name else None,
            str(category) if category else None,
            price if isinstance(price, int | float) else None,
            tuple(map(str, row.get("tags") or ())),
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Statistics at one moment. ``counts[i]`` and ``newest_ms[i]`` belong to product ``structure.ids[i]``.

    ``described`` is the catalogue, ``catalogue_ids`` its products in ascending order, ``removed`` what was taken out.
    """

    structure: ProductStructure
    counts: Integers
    newest_ms: Integers
    tag_counts: Mapping[str, tuple[int, ...]]
    described: Mapping[str, Described]
    catalogue_ids: tuple[str, ...]
    removed: frozenset[str] = frozenset()

    def counts_of(self, product_id: str) -> list[int] | None:
        """Give everybody's events with a product by type, None where there are none."""
        place = self.structure.index.get(product_id)
        return None if place is None else [int(each) for each in self.counts[place]]

    def tags_of(self, product_id: str) -> tuple[str, ...]:
        """Give the tags of a product, none for one that nobody knows or that was removed."""
        place, names = self.structure.index.get(product_id), self.structure.tag_names
        if place is None:
            described = self.described.get(product_id)
            return () if described is None else described.tags
        return tuple(names[tags[place]] for tags in self.structure.tags if tags[place] < len(names))


@dataclass(slots=True)
class Collected:
    """The rows as they come from Redis; not shared between threads."""

    width: int
    products: dict[str, tuple[tuple[int, ...], int, tuple[str, ...]]] = field(default_factory=dict)
    tags: dict[str, tuple[int, ...]] = field(default_factory=dict)
    catalog_tags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    described: dict[str, Described] = field(default_factory=dict)
    catalogue_ids: tuple[str, ...] = ()
    removed: frozenset[str] = frozenset({CANARY})
    _structure: ProductStructure | None = None

    def put_product(self, product_id: str, row: Sequence[Any]) -> None:
        """Take a product's row ``[counts, newest event ms, tags]``."""
        counts, newest, tags = tuple(row[0]), int(row[1]), tuple(row[2])
        before = self.products.get(product_id)
        if before is None or (before[2] != tags and product_id not in self.catalog_tags):
            self._structure = None
        self.products[product_id] = (counts, newest, tags)

    def put_tag(self, tag: str, row: Sequence[Any]) -> None:
        """Take everybody's row of a tag ``[counts, newest event ms]``."""
        if tag != CANARY:
            self.tags[tag] = tuple(row[0])

    def put_catalog(self, products: Mapping[str, Mapping[str, Any]], removed: Iterable[str] = ()) -> None:
        """Take the whole catalogue; its tags stand before those learned from events.

        What was removed from it is shown to nobody, whatever events tell of it.
        """
        self.removed = frozenset({*removed, CANARY})
        self.described = {key: Described.from_row(each) for key, each in products.items()}
        self.catalogue_ids = tuple(sorted(products))
        self.catalog_tags = {key: tuple(each["tags"]) for key, each in products.items() if each.get("tags") is not None}
        self._structure = None

    def clear_statistics(self) -> None:
        """Forget all rows, before they are loaded anew."""
        self.products, self.tags, self._structure = {}, {}, None

    def snapshot(self) -> Snapshot:
        """Give what is collected as arrays; who the products are is worked out again only when that changed."""
        if self._structure is None:
            self._structure = self._build_structure()
        rows = [self.products[product_id] for product_id in self._structure.ids]
        counts = np.zeros((len(rows), self.width), dtype=np.int64)
        for column in range(self.width):
            counts[:, column] = [row[0][column] if column < len(row[0]) else 0 for row in rows]
        newest = np.array([row[1] for row in rows], dtype=np.int64)
        return Snapshot(
            self._structure, counts, newest, dict(self.tags), self.described, self.catalogue_ids, self.removed
        )

    def _build_structure(self) -> ProductStructure:
        ids = tuple(sorted(self.products.keys() - self.removed))
        tags = [self.catalog_tags.get(each, self.products[each][2]) for each in ids]
        names = tuple(dict.fromkeys(tag for each in tags for tag in each))
        index = {name: position for position, name in enumerate(names)}
        widest = max(map(len, tags), default=0)
        columns = [
            np.array([index[each[k]] if k < len(each) else len(names) for each in tags], dtype=np.intp)
            for k in range(widest)
        ]
        return ProductStructure(
            ids,
            {each: position for position, each in enumerate(ids)},
            names,
            index,
            tuple(columns),
            np.array([len(each) for each in tags], dtype=np.float64),
        )
