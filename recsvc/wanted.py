"""Which products are wanted: by category and price, and as a mask over the products of a ranking."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from recsvc.statistics import Described, Snapshot

Mask: TypeAlias = npt.NDArray[np.bool_]
_MOST_MASKS: Final = 64
_UNDESCRIBED: Final = Described()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which products are wanted: of this category, of a price between these; None: whatever it is."""

    category: str | None = None
    min_price: float | None = None
    max_price: float | None = None

    def takes(self, product: Described) -> bool:
        """Whether it is one of them; a product without a price is of no price."""
        if self.category is not None and product.category != self.category:
            return False
        if self.min_price is None and self.max_price is None:
            return True
        price = product.price
        return (
            price is not None
            and (self.min_price is None or price >= self.min_price)
            and (self.max_price is None or price <= self.max_price)
        )


ANY: Final = Wanted()


class Masks:
    """Remembers the masks of the last wishes: with a hundred thousand products one takes some hundredths of a second.

    Used by several threads; two may make the same mask, which harms nobody.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, Wanted], tuple[Sequence[str], Snapshot, Mask]] = OrderedDict()

    def of(self, ids: Sequence[str], snapshot: Snapshot, wanted: Wanted) -> Mask | None:
        """Give which of ``ids`` are wanted and not removed, None for all of them."""
        if wanted == ANY and not snapshot.removed:
            return None
        key = (id(ids), wanted)
        known = self._known.get(key)
        if known is not None and known[0] is ids and known[1].described is snapshot.described:
            return known[2]
        described, removed = snapshot.described, snapshot.removed
        mask = np.fromiter(
            (each not in removed and wanted.takes(described.get(each, _UNDESCRIBED)) for each in ids), bool, len(ids)
        )
        self._known[key] = ids, snapshot, mask
        while len(self._known) > _MOST_MASKS:
            self._known.popitem(last=False)
        return mask
