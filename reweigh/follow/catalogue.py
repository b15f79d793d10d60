"""The topic `product-catalog`: each record is a product as it is from now on; one without a value removes its key's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent, shown
from reccore.events import LONGEST_ID
from reccore.layout import CATALOG, CATALOG_DETAILS, CATALOG_REMOVED, CATALOG_VERSION
from reweigh.catalog import Change
from reweigh.products import CatalogProduct, product_from_bytes


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Products of the topic, into the catalogue."""

    topic: str
    version_key: ClassVar[str | None] = CATALOG_VERSION

    def judge(self, key: bytes | None, value: bytes | None, time_ms: int) -> CatalogProduct | str:  # noqa: ARG002
        """Give the product, or the id of the one to remove. Raises :class:`RejectedEvent`."""
        if value is not None:
            return product_from_bytes(value)
        try:
            product_id = (key or b"").decode("utf-8")
        except UnicodeDecodeError:
            product_id = ""
        if not 1 <= len(product_id) <= LONGEST_ID:
            allowed = f"a record without a value names a product by its key, 1 to {LONGEST_ID} characters in UTF-8"
            raise RejectedEvent(Reason.INVALID_PRODUCT_ID, f"key: {shown(key)}, {allowed}")
        return product_id

    def keys(self, judged: CatalogProduct | str) -> Sequence[str]:  # noqa: ARG002 (everybody's rows are in the same)
        """Give the three hashes."""
        return (CATALOG, CATALOG_DETAILS, CATALOG_REMOVED)

    def changes(self, judged: Sequence[CatalogProduct | str]) -> Change:
        """Give them as one change."""
        return Change(judged)
