"""A product of the catalogue, and how one is read: from JSON lines, CSV, Parquet or a message."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent, shown
from reccore.event_types import VIEW, EventTypes
from reccore.events import LONGEST_TAG, event_from_fields
from reweigh.lines import Row, is_text

LONGEST_NAME: Final = 500
LONGEST_CATEGORY: Final = 100
LONGEST_DESCRIPTION: Final = 10_000
LARGEST_ATTRIBUTES: Final = 16_384
"""Bytes of their JSON."""

_EVENT_TYPES: Final = EventTypes.from_settings({})


@dataclass(frozen=True, slots=True)
class CatalogProduct:
    """One product as it stands in the catalogue."""

    product_id: str
    name: str | None
    tags: tuple[str, ...]
    price: float | None
    category: str | None
    description: str | None = None
    attributes: Mapping[str, Any] | None = None

    def stored(self, tags_since_ms: int) -> str:
        """The JSON of what every worker holds in memory; since ``tags_since_ms`` nobody has seen other tags of it."""
        return json.dumps(
            {
                "name": self.name,
                "tags": list(self.tags),
                "price": self.price,
                "category": self.category,
                "tags_since_ms": tags_since_ms,
            },
            ensure_ascii=False,
        )

    def message(self) -> bytes:
        """The JSON that tells of it on the topic."""
        members = {
            "product_id": self.product_id,
            "name": self.name,
            "tags": list(self.tags),
            "price": self.price,
            "category": self.category,
            "description": self.description,
            "attributes": self.attributes,
        }
        told = {name: value for name, value in members.items() if value is not None}
        return json.dumps(told, ensure_ascii=False).encode("utf-8")

    def details(self) -> str | None:
        """The JSON of what is read only when somebody asks for the product; None when there is nothing of the kind."""
        if self.description is None and self.attributes is None:
            return None
        return json.dumps({"description": self.description, "attributes": self.attributes}, ensure_ascii=False)


def parse_product(row: Row) -> CatalogProduct:
    """Read one product of JSON lines or CSV; see :func:`product_from_fields`."""
    if row.fields is None and not row.raw:
        raise RejectedEvent(Reason.NOT_AN_OBJECT, "not a row of CSV")
    return product_from_fields(_json_fields(row.raw) if row.fields is None else _csv_fields(row.fields))


def product_from_bytes(raw: bytes) -> CatalogProduct:
    """Read one product of a message, a JSON object; see :func:`product_from_fields`."""
    return product_from_fields(_json_fields(raw))


def product_from_fields(fields: Mapping[str, object]) -> CatalogProduct:
    """Read one product of decoded members.

    ``item_id`` is read as ``product_id``, ``product_name`` as ``name``; ids and tags follow the rules of events. A
    product that names no tags has its category as its only one. Raises :class:`RejectedEvent` naming field, value and
    what is allowed.
    """
    # Ids and tags of a product must be such as an event can carry, so the event's parser judges them.
    like_event = {name: fields.get(name) for name in ("product_id", "item_id", "tags")}
    event = event_from_fields(
        {**like_event, "user_id": "-"}, topic_type=VIEW, record_time_ms=0, event_types=_EVENT_TYPES
    )
    name = fields.get("name") if fields.get("name") is not None else fields.get("product_name")
    category = _text("category", fields.get("category"), LONGEST_CATEGORY)
    tags = event.tags
    if tags is None:
        tags = (category,) if category is not None and len(category) <= LONGEST_TAG else ()
    return CatalogProduct(
        product_id=event.product_id,
        name=_text("name", name, LONGEST_NAME),
        tags=tags,
        price=_price(fields.get("price")),
        category=category,
        description=_text("description", fields.get("description"), LONGEST_DESCRIPTION),
        attributes=_attributes(fields.get("attributes")),
    )


def _json_fields(raw: bytes) -> dict[str, object]:
    try:
        fields = json.loads(raw.decode("utf-8"))
        json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as exc:
        raise RejectedEvent(Reason.NOT_JSON, "a JSON object in UTF-8 is required") from exc
    if not isinstance(fields, dict):
        raise RejectedEvent(Reason.NOT_AN_OBJECT, f"{shown(fields)}, a JSON object is required")
    return fields


def _csv_fields(cells: Mapping[str, object]) -> dict[str, object]:
    if not is_text(cells):
        raise RejectedEvent(Reason.NOT_UTF8, "a cell is not UTF-8")
    fields: dict[str, object] = dict(cells)
    if isinstance(tags := cells.get("tags"), str):
        fields["tags"] = [tag for tag in (part.strip() for part in tags.split("|")) if tag]
    if isinstance(price := cells.get("price"), str):
        with suppress(ValueError):
            fields["price"] = float(price)
    if isinstance(attributes := cells.get("attributes"), str):
        with suppress(ValueError, RecursionError):
            fields["attributes"] = json.loads(attributes)
    return fields


def _text(field: str, value: object, longest: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise RejectedEvent(f"invalid_{field}", f"{field}: {shown(value)}, 1 to {longest} characters are allowed")
    return value


def _price(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise RejectedEvent("invalid_price", f"price: {shown(value)}, a number >= 0 is allowed")
    return value


def _attributes(value: object) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not _fits(value):
        allowed = f"a JSON object of at most {LARGEST_ATTRIBUTES} bytes is allowed"
        raise RejectedEvent("invalid_attributes", f"attributes: {shown(value)}, {allowed}")
    return value


def _fits(value: dict[str, Any]) -> bool:
    try:
        return len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")) <= LARGEST_ATTRIBUTES
    except (ValueError, RecursionError, TypeError):  # a number that is none, a lone surrogate; in Parquet a date
        return False
