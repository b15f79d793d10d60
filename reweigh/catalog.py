"""`reweigh catalog`: products into Redis, directly or by way of the topic `product-catalog`, and out of it again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import redis

from reccore.errors import RejectedEvent
from reccore.layout import CATALOG, CATALOG_DETAILS, CATALOG_REMOVED, CATALOG_VERSION
from redisaccess.cluster import ClusterClient
from reweigh.errors import CommandError
from reweigh.kafka import EventProducer
from reweigh.lines import AUTO, Row, file_format, read_rows
from reweigh.products import CatalogProduct, parse_product

CHUNK: Final = 1_000

_CLOCKS_DIFFER_MS: Final = 1_000
"""How far the clocks of producers may be behind ours; an event of a later time is sure to meet the new tags."""


class Bar(Protocol):
    """The part of a progress bar that is used."""

    n: float

    def update(self, n: float = 1) -> bool | None:
        """Move on."""


class Change:
    """Products to store and ids to remove, as one transaction; of one product the last counts."""

    def __init__(self, changes: Iterable[CatalogProduct | str]) -> None:
        last = {each if isinstance(each, str) else each.product_id: each for each in changes}
        self._products = [each for each in last.values() if isinstance(each, CatalogProduct)]
        self._removed = [each for each in last.values() if isinstance(each, str)]
        self._before: dict[str, str | bytes | None] = {}

    def read(self, client: Any) -> None:
        """Read what is stored of these products, before the transaction that :meth:`queue` is for."""
        ids = [each.product_id for each in self._products]
        self._before = dict(zip(ids, client.hmget(CATALOG, ids), strict=True)) if ids else {}

    def queue(self, pipeline: Any) -> None:
        """Queue the commands. Whoever holds the catalogue in memory reads it again when its version is raised."""
        since_ms = int(time.time() * 1000) + _CLOCKS_DIFFER_MS
        if self._products:
            rows = {
                each.product_id: each.stored(_same_tags_since(self._before[each.product_id], each.tags) or since_ms)
                for each in self._products
            }
            details = {each.product_id: each.details() for each in self._products}
            pipeline.hset(CATALOG, mapping=rows)
            pipeline.hdel(CATALOG_REMOVED, *rows)
            if bare := [product_id for product_id, text in details.items() if text is None]:
                pipeline.hdel(CATALOG_DETAILS, *bare)
            if told := {product_id: text for product_id, text in details.items() if text is not None}:
                pipeline.hset(CATALOG_DETAILS, mapping=told)
        if self._removed:
            pipeline.hdel(CATALOG, *self._removed)
            pipeline.hdel(CATALOG_DETAILS, *self._removed)
            # Events still tell of it: it is remembered as removed, so that nobody is shown it.
            pipeline.hset(CATALOG_REMOVED, mapping=dict.fromkeys(self._removed, since_ms))
        if self._products or self._removed:
            pipeline.incr(CATALOG_VERSION)


def load_catalog(file: Path, client: redis.Redis, bar: Bar, fmt: str = AUTO) -> tuple[int, int]:
    """Store every product of ``file``, of which a product's last line counts. See :func:`store_products`."""
    return store_products(products_of(file, bar, fmt), client)


def send_catalog(file: Path, producer: EventProducer, topic: str, bar: Bar, fmt: str = AUTO) -> tuple[int, int]:
    """Send every product of ``file`` to the topic, keyed by product; give how many were sent and how many rejected."""
    sent = rejected = 0
    for each in products_of(file, bar, fmt):
        if each is None:
            rejected += 1
        else:
            producer.send(topic, each.product_id.encode("utf-8"), each.message())
            sent += 1
    producer.close()
    return sent, rejected


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
            _carry_out(client, Change(valid))
    return stored, rejected


def remove_products(product_ids: Sequence[str], client: redis.Redis) -> None:
    """Take products out of the catalogue: nobody is shown them any more. Raises :class:`CommandError`."""
    _carry_out(client, Change(product_ids))


def products_of(file: Path, bar: Bar, fmt: str = AUTO) -> Iterator[CatalogProduct | None]:
    """Read the products of a file, None for a line that is rejected, which is said on standard error."""
    for row in read_rows(file, file_format(file, fmt)):
        bar.update(row.position - bar.n)
        yield _parsed(row)


def _parsed(row: Row) -> CatalogProduct | None:
    try:
        return parse_product(row)
    except RejectedEvent as exc:
        print(f"line {row.number}: {exc}", file=sys.stderr)
        return None


def _carry_out(client: redis.Redis, change: Change) -> None:
    try:
        change.read(client)
        spread = isinstance(client, ClusterClient)
        with client.pipeline(transaction=not spread) as pipeline:
            change.queue(pipeline)
            pipeline.execute()
        if spread:  # each node carried out its part at a time of its own: raised again, when all of it is there
            client.incr(CATALOG_VERSION)
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
