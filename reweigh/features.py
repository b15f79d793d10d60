"""The features of many users at once, as Arrow tables: what ``GET /features/<user>`` tells of one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import redis

from reccore.canary import CANARY
from reccore.encoding import ItemCounts
from reccore.event_types import EventTypes
from reccore.features import COUNTED, LAST_INTERACTION, FeatureRules, attribute_values, group_names, last_interaction_ms
from reccore.layout import CATALOG, CATALOG_DETAILS, items_key, user_of_items_key
from reccore.metadata_numbers import DURATIONS, MetadataNumbers
from redisaccess.clients import client_of
from redisaccess.scanning import pages_of_keys
from reweigh.errors import CommandError
from reweigh.settings import read_settings

_USERS_A_CALL: Final = 200
_KEYS_A_SCAN: Final = 1_000
_CATEGORY: Final = "category"


class Features:
    """Reads the features that a Redis holds.

    Args:
        url: Where Redis is.
        event_types: As the job has them.
        numbers: The metadata numbers that the job adds up.
        tag_expiry_seconds: After how long without events the job forgets a product of a user; 0: never.
        attributes: Of products, by whose values events are counted too, each in a column ``attribute_<name>``.

    Raises:
        CommandError: An attribute is called as what is counted by anyway.
    """

    def __init__(
        self,
        url: str,
        event_types: EventTypes,
        *,
        numbers: MetadataNumbers = DURATIONS,
        tag_expiry_seconds: int = 0,
        attributes: Sequence[str] = (),
    ) -> None:
        if taken := COUNTED.intersection(attributes):
            raise CommandError(f"attributes: {', '.join(taken)}: features of that name are counted anyway")
        self._redis: Any = client_of(url, decode_responses=True, socket_timeout=60.0, socket_connect_timeout=10.0)
        self._rules = FeatureRules(event_types.names, numbers.names)
        self._expiry, self._attributes = tag_expiry_seconds, tuple(attributes)
        columns: list[tuple[str, Any]] = [("user_id", pa.string()), ("product_id", pa.string())]
        counts, averages = self._rules.of_product[:2], self._rules.of_product[2:]
        columns += [(name, pa.int64()) for name in counts] + [(name, pa.float64()) for name in averages]
        for group in (_CATEGORY, *self._attributes):
            columns += [(_column(group), pa.string()), *((name, pa.int64()) for name in group_names(group))]
        columns.append((LAST_INTERACTION, pa.timestamp("ms", "UTC")))
        self.schema = pa.schema(columns)

    @classmethod
    def of_deployment(cls, env_file: Path | None = None) -> Features:
        """Connect to the Redis of a deployment: of ``env_file``, the environment, or the local stack."""
        settings = read_settings(env_file)
        return cls(
            settings.required("REDIS_URL"),
            settings.event_types,
            numbers=settings.metadata_numbers,
            tag_expiry_seconds=settings.tag_expiry_seconds,
            attributes=settings.feature_attributes,
        )

    def close(self) -> None:
        """Disconnect."""
        self._redis.close()

    def table(self, user_ids: Iterable[str] | None = None) -> pa.Table:
        """Give all of it in memory: a row for each user (of ``user_ids``; by default everybody) and product.

        Raises :class:`CommandError` when Redis can't be read.
        """
        return pa.concat_tables([self.schema.empty_table(), *self.batches(user_ids)])

    def batches(self, user_ids: Iterable[str] | None = None) -> Iterator[pa.Table]:
        """Give the same some hundred users at a time. Who is written meanwhile is there as of some moment."""
        groups = self._groups()
        users = self._everybody() if user_ids is None else iter(dict.fromkeys(user_ids))
        while some := list(islice(users, _USERS_A_CALL)):
            rows = self._rows_of(some)
            yield pa.Table.from_pylist(
                [row for user, of_user in zip(some, rows, strict=True) for row in self._rows(user, of_user, groups)],
                self.schema,
            )

    def _groups(self) -> dict[str, dict[str, str]]:
        """Give what each product belongs to: by category, and by attribute."""
        catalogue = self._ask(self._redis.hgetall, CATALOG).items()
        categories = {product: category for product, row in catalogue if (category := self._category(row)) is not None}
        groups: dict[str, dict[str, str]] = {_CATEGORY: categories, **{name: {} for name in self._attributes}}
        if self._attributes:
            for product, details in self._ask(lambda: dict(self._redis.hscan_iter(CATALOG_DETAILS))).items():
                for name, value in attribute_values(details, self._attributes).items():
                    groups[name][product] = value
        return groups

    def write(self, file: Path, tell: Callable[[int], object]) -> tuple[int, int]:
        """Write everybody's to a Parquet file; gives rows and users. ``tell`` hears the users of each batch."""
        rows = users = 0
        with pq.ParquetWriter(file, self.schema, compression="snappy") as writer:
            for table in self.batches():
                writer.write_table(table)
                found = len(set(table["user_id"].to_pylist()))
                rows, users = rows + len(table), users + found
                tell(found)
        return rows, users

    def _rows(
        self, user_id: str, rows: Mapping[str, str], groups: Mapping[str, Mapping[str, str]]
    ) -> Iterator[dict[str, Any]]:
        items: Mapping[str, ItemCounts] = self._rules.unexpired(rows, time.time(), self._expiry)
        counted = {name: self._rules.groups(name, items, members.get) for name, members in groups.items()}
        newest_ms = last_interaction_ms(items)
        for product_id, item in sorted(items.items()):
            row: dict[str, Any] = {"user_id": user_id, "product_id": product_id, **self._rules.product(item)}
            for name, members in groups.items():
                if (value := members.get(product_id)) is not None:
                    row |= {_column(name): value, **counted[name][value]}
            yield {**row, LAST_INTERACTION: newest_ms}

    def _everybody(self) -> Iterator[str]:
        seen = {CANARY}
        pages = pages_of_keys(self._redis, match="{*:items*", count=_KEYS_A_SCAN)
        while (keys := self._ask(next, pages, None)) is not None:
            fresh = {user for key in keys if (user := user_of_items_key(key)) is not None} - seen
            seen |= fresh  # a key may come twice while Redis grows
            yield from sorted(fresh)

    def _rows_of(self, user_ids: Sequence[str]) -> list[Mapping[str, str]]:
        def read() -> list[Mapping[str, str]]:
            with self._redis.pipeline(transaction=False) as pipeline:
                for user_id in user_ids:
                    pipeline.hgetall(items_key(user_id))
                return list(pipeline.execute())

        return list(self._ask(read))

    @staticmethod
    def _category(row: str) -> str | None:
        try:
            category = json.loads(row).get("category")
        except (ValueError, AttributeError):
            return None
        return category if isinstance(category, str) else None

    @staticmethod
    def _ask(action: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return action(*arguments, **options)
        except redis.RedisError as exc:
            raise CommandError(f"what Redis holds can't be read: {exc}") from exc


def _column(group: str) -> str:
    """Name the column that says which group of that kind a product is in."""
    return group if group == _CATEGORY else f"attribute_{group}"
