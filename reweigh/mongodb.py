"""The catalogue out of a MongoDB collection, once or again and again: what changed is stored, what went is removed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import redis
from bson import Decimal128, ObjectId
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, PyMongoError

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent
from reccore.layout import CATALOG
from reweigh.catalog import CHUNK, remove_products, store_products
from reweigh.errors import CommandError
from reweigh.products import CatalogProduct, product_from_fields

_PATIENCE_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Turn:
    """What one reading came to: products stored since they are new or have changed, removed, and rejected."""

    stored: int
    removed: int
    rejected: int


class MongoCatalogue:
    """Keeps the catalogue in Redis as the documents of a collection say.

    Args:
        documents: The collection.
        client: Of Redis.
        remove_missing: Whether products that the catalogue has before the first reading, and the collection has not,
            are removed too. Those that vanish between two readings always are.
    """

    def __init__(self, documents: Any, client: redis.Redis, *, remove_missing: bool) -> None:
        self._documents, self._redis, self._remove_missing = documents, client, remove_missing
        self._known: dict[str, bytes] | None = None
        """Digest by product, of what was stored."""

    def turn(self) -> Turn:
        """Read everything once. Raises :class:`CommandError` when MongoDB or Redis fails; nothing is removed then."""
        before, found = self._before(), dict[str, bytes]()
        changed = self._changed(before, found)
        stored, rejected = store_products(changed, self._redis)
        gone = sorted(before.keys() - found.keys())
        for start in range(0, len(gone), CHUNK):
            remove_products(gone[start : start + CHUNK], self._redis)
        self._known = found
        return Turn(stored, len(gone), rejected)

    def _before(self) -> Mapping[str, bytes]:
        """Give what the catalogue holds of what was stored, with digests; what it has lost is stored again."""
        try:
            there = {key.decode() if isinstance(key, bytes) else key for key in self._redis.hkeys(CATALOG)}  # type: ignore[union-attr]
        except redis.RedisError as exc:
            raise CommandError(f"Redis does not tell of the catalogue: {exc}") from exc
        if self._known is not None:
            return {product_id: digest for product_id, digest in self._known.items() if product_id in there}
        return dict.fromkeys(there, b"") if self._remove_missing else {}

    def _changed(self, before: Mapping[str, bytes], found: dict[str, bytes]) -> Iterator[CatalogProduct | None]:
        for document in self._read():
            try:
                product = product_of(document)
            except RejectedEvent as exc:
                print(f"document {document.get('_id')!r}: {exc}", file=sys.stderr)
                product_id = str(_own_id(document))
                if product_id in before:  # it has not vanished: what is known of it stays
                    found.setdefault(product_id, before[product_id])
                yield None
                continue
            digest = hashlib.blake2b(product.message(), digest_size=16).digest()
            stored = found.get(product.product_id, before.get(product.product_id))
            found[product.product_id] = digest
            if stored != digest:  # of one product the last document counts
                yield product

    def _read(self) -> Iterator[Mapping[str, Any]]:
        try:
            yield from self._documents.find()
        except (PyMongoError, BSONError) as exc:
            raise CommandError(f"MongoDB can't be read: {exc}") from exc


@contextmanager
def collection(url: str, name: str) -> Iterator[Any]:
    """Open a collection of the database that the URL names. Raises :class:`CommandError` for a URL that names none."""
    try:
        client: MongoClient[dict[str, Any]] = MongoClient(
            url, serverSelectionTimeoutMS=_PATIENCE_MS, tz_aware=True, datetime_conversion="DATETIME_AUTO"
        )
    except (PyMongoError, ValueError) as exc:  # its text may hold a part of the password
        raise CommandError("what is given is no URL of MongoDB, mongodb://host:port/database") from exc
    with client:
        try:
            yield client.get_default_database()[name]
        except ConfigurationError as exc:
            raise CommandError("--url names no database: mongodb://host:port/database") from exc


def product_of(document: Mapping[str, Any]) -> CatalogProduct:
    """Read a product of a document: members as in a file; ``_id`` is the id of one that names no other.

    Raises :class:`RejectedEvent`.
    """
    try:
        fields = {name: _plain(value) for name, value in document.items() if name != "_id"}
        fields |= {"product_id": _own_id(document), "item_id": None}
    except ValueError as exc:  # a decimal number that is none
        raise RejectedEvent(Reason.NOT_JSON, str(exc)) from exc
    return product_from_fields(fields)


def _own_id(document: Mapping[str, Any]) -> Any:
    given = (document.get(name) for name in ("product_id", "item_id", "_id"))
    return next((_plain(each) for each in given if each is not None), None)


def _plain(value: Any) -> Any:
    """Give what JSON can say: ids and times as texts, decimal numbers as doubles."""
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, Decimal128):
        return float(value.to_decimal())
    if isinstance(value, DatetimeMS):  # beyond the year 9999
        return int(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
