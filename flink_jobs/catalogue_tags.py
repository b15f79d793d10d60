"""Tags of products for the events that name none: a look-up in the catalogue, a batch at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Final, Protocol

from reccore.events import LONGEST_TAG, MOST_TAGS

_MOST_REMEMBERED: Final = 200_000


class CatalogueReader(Protocol):
    """What the look-up needs of Redis."""

    def read_catalogue(self, product_ids: Sequence[str]) -> tuple[str, list[str | None]]:
        """Give the catalogue's version and the JSON of each product (None: unknown), from one moment."""
        ...


class CatalogueTags:
    """Remembers the tags of known products until the catalogue changes; unknown ones are asked for each time."""

    def __init__(self, reader: CatalogueReader) -> None:
        self._reader = reader
        self._version = ""
        self._tags: dict[str, list[str]] = {}

    def tags_of(self, product_ids: Collection[str]) -> dict[str, list[str]]:
        """Give the tags by product id, for the products that the catalogue knows."""
        wanted = list(dict.fromkeys(product_ids))
        missing = [product_id for product_id in wanted if product_id not in self._tags]
        version, rows = self._reader.read_catalogue(missing)
        if version != self._version or len(self._tags) > _MOST_REMEMBERED:
            if len(missing) < len(wanted):
                version, rows = self._reader.read_catalogue(wanted)
            self._tags, self._version, missing = {}, version, wanted
        for product_id, row in zip(missing, rows, strict=True):
            if row is not None:
                self._tags[product_id] = _tags_of_row(row)
        return {product_id: self._tags[product_id] for product_id in wanted if product_id in self._tags}


def _tags_of_row(row: str) -> list[str]:
    try:
        tags = json.loads(row).get("tags") or []
    except (ValueError, AttributeError):
        return []
    usable = [tag for tag in tags if isinstance(tag, str) and 1 <= len(tag) <= LONGEST_TAG]
    return list(dict.fromkeys(usable))[:MOST_TAGS]
