"""What is asked for besides the user: which products are wanted, and these as a mask over those of a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for, besides the user: ``n`` tags and products at most (None: as many as is usual).

    What was bought or rated is left out unless ``include_bought``; with ``exclude_seen`` all that the user has had to
    do with is.
    """

    n: int | None = None
    exclude: frozenset[str] = frozenset()
    wanted: Wanted = ANY
    include_bought: bool = False
    exclude_seen: bool = False
    explain: bool = False


USUAL: Final = Wish()


class Masks:
    """Remembers the masks of the last wishes: with a hundred thousand products one takes some hundredths of a second.

    Only those of the newest products and catalogue are kept. Used by several threads; two may make the same mask, which
    harms nobody.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, Wanted], _Known] = {}  # by the identity of the ids, which it keeps

    def of(self, ids: Sequence[str], snapshot: Snapshot, wanted: Wanted) -> Mask | None:
        """Give which of ``ids`` are wanted and not removed, None for all of them."""
        if wanted == ANY and not snapshot.removed:
            return None
        described, removed, key = snapshot.described, snapshot.removed, (id(ids), wanted)
        known = self._known.get(key)
        if known is not None and known.ids is ids and known.described is described:
            return known.mask
        mask = np.fromiter(
            (each not in removed and wanted.takes(described.get(each, _UNDESCRIBED)) for each in ids), bool, len(ids)
        )
        kept = {k: each for k, each in self._known.items() if each.described is described}
        while len(kept) >= _MOST_MASKS:
            del kept[next(iter(kept))]
        self._known = {**kept, key: _Known(ids, described, mask)}
        return mask


@dataclass(frozen=True, slots=True)
class _Known:
    ids: Sequence[str]
    described: Mapping[str, Described]
    mask: Mask
