"""`reweigh catalog load`: products with name, tags, price and category into Redis."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Protocol, cast

import redis

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent, shown
from reccore.event_types import VIEW, EventTypes
from reccore.events import event_from_fields
from reccore.layout import CATALOG, CATALOG_VERSION
from reweigh.errors import CommandError
from reweigh.lines import AUTO, Row, file_format, is_text, read_rows

CHUNK: Final = 1_000
LONGEST_NAME: Final = 500
LONGEST_CATEGORY: Final = 100

_CLOCKS_DIFFER_MS: Final = 1_000
"""How far the clocks of producers may be behind ours; an event of a later time is sure to meet the new tags."""

_EVENT_TYPES: Final = EventTypes.from_settings({})


@dataclass(frozen=True, slots=True)
class CatalogProduct:
    """One product as it stands in the catalogue."""

    product_id: str
    name: str | None
    tags: tuple[str, ...]
    price: float | None
    category: str | None

    def stored(self, tags_since_ms: int) -> str:
        """The JSON under the product's field; since ``tags_since_ms`` nobody has seen other tags of it."""
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


class Bar(Protocol):
    """The part of a progress bar that is used."""

    n: float

    def update(self, n: float = 1) -> bool | None:
        """Move on."""


def parse_product(row: Row) -> CatalogProduct:
    """Read one product of JSON lines or CSV (tags separated by ``|``).

    ``item_id`` is read as ``product_id``, ``product_name`` as ``name``; ids and tags follow the rules of events. Raises
    :class:`RejectedEvent` naming field, value and what is allowed.
    """
    fields = _json_fields(row.raw) if row.fields is None else _csv_fields(row.fields)
    # Ids and tags of a product must be such as an event can carry, so the event's parser judges them.
    like_event = {name: fields.get(name) for name in ("product_id", "item_id", "tags")}
    event = event_from_fields(
        {**like_event, "user_id": "-"}, topic_type=VIEW, record_time_ms=0, event_types=_EVENT_TYPES
    )
    name = fields.get("name") if fields.get("name") is not None else fields.get("product_name")
    return CatalogProduct(
        product_id=event.product_id,
        name=_text("name", name, LONGEST_NAME),
        tags=event.tags or (),
        price=_price(fields.get("price")),
        category=_text("category", fields.get("category"), LONGEST_CATEGORY),
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


def load_catalog(file: Path, client: redis.Redis, bar: Bar, fmt: str = AUTO) -> tuple[int, int]:
    """Store every product of ``file``, of which a product's last line counts. See :func:`store_products`."""
    return store_products(_parsed(read_rows(file, file_format(file, fmt)), bar), client)


def store_products(products: Iterator[CatalogProduct | None], client: redis.Redis) -> tuple[int, int]:
    """Store products; give how many were stored and how many were None, which stands for a rejected line.

    The catalogue's version is raised with each chunk, in one transaction with it. Raises :class:`CommandError` when
    Redis fails.
    """
    stored = rejected = 0
    while chunk := list(islice(products, CHUNK)):
        valid = [each for each in chunk if isinstance(each, CatalogProduct)]
        rejected += len(chunk) - len(valid)
        stored += len(valid)
        if valid:
            _store(client, valid)
    return stored, rejected


def _parsed(rows: Iterable[Row], bar: Bar) -> Iterator[CatalogProduct | None]:
    for row in rows:
        bar.update(row.position - bar.n)
        try:
            yield parse_product(row)
        except RejectedEvent as exc:
            print(f"line {row.number}: {exc}", file=sys.stderr)
            yield None


def _store(client: redis.Redis, products: list[CatalogProduct]) -> None:
    since_ms = int(time.time() * 1000) + _CLOCKS_DIFFER_MS
    try:
        before = cast("list[str | bytes | None]", client.hmget(CATALOG, [each.product_id for each in products]))
        rows = {
            each.product_id: each.stored(_same_tags_since(row, each.tags) or since_ms)
            for each, row in zip(products, before, strict=True)
        }
        with client.pipeline(transaction=True) as pipeline:
            pipeline.hset(CATALOG, mapping=rows)
            pipeline.incr(CATALOG_VERSION)
            pipeline.execute()
    except redis.RedisError as exc:
        raise CommandError(f"Redis does not take the catalogue: {exc}") from exc


def _same_tags_since(row: str | bytes | None, tags: tuple[str, ...]) -> int | None:
    """Give since when a stored product has had these tags, None when it has others or doesn't say."""
    try:
        stored = json.loads(row or "{}")
        same, since = stored["tags"] == list(tags), stored["tags_since_ms"]
    except (ValueError, KeyError, TypeError):
        return None
    return since if same and isinstance(since, int) else None
