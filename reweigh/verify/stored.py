"""What Redis holds, as tables: every key of it, by the layout of ``docs/data_dictionary.md``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, cast

import duckdb
import pyarrow as pa
import redis

from reweigh.errors import CommandError
from reweigh.verify.recount import CatalogueTags

_KEYS_A_CALL: Final = 500
_PROFILE: Final = "user:profile:"
_BESIDE: Final = re.compile(
    r"\{user:profile:(?P<plain>[^{}]+)\}:(?P<what>counts|purchased)"
    r"|\{\d+\}:(?P<what_too>counts|purchased):user:profile:(?P<braces>.+)",
    re.DOTALL,
)
_STATISTICS: Final = ("{stats}:products", "{stats}:tags", "{stats}:totals")
_HOUSEKEEPING: Final = frozenset(
    {
        "{stats}:changes",
        "{stats}:dropped_tags",
        "catalog:products",
        "catalog:version",
        "weights:in_force",
        "writer:epoch",
        "writer:fence",
    }
)

_TABLES: Final = """
CREATE OR REPLACE TABLE stored_counts (user_id VARCHAR, tag VARCHAR, row VARCHAR);
CREATE OR REPLACE TABLE stored_scores (user_id VARCHAR, tag VARCHAR, score VARCHAR);
CREATE OR REPLACE TABLE stored_purchases (user_id VARCHAR, product_id VARCHAR);
CREATE OR REPLACE TABLE stored_products (product_id VARCHAR, row VARCHAR);
CREATE OR REPLACE TABLE stored_tags (tag VARCHAR, row VARCHAR);
CREATE OR REPLACE TABLE stored_totals (name VARCHAR, row VARCHAR);
CREATE OR REPLACE TABLE stored_others (key VARCHAR);
"""


class Stored:
    """Reads one Redis database. Raises :class:`CommandError` when it can't."""

    def __init__(self, url: str) -> None:
        try:
            self._client: Any = redis.Redis.from_url(
                url, decode_responses=True, socket_timeout=60.0, socket_connect_timeout=10.0
            )
        except ValueError:  # its text may hold a part of the password
            raise CommandError("REDIS_URL is no URL of Redis") from None

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def weights_in_force(self) -> tuple[int, int]:
        """Give the version of the weights that writers use, and the version that all stored scores have."""
        fields = self._ask(lambda: self._client.hmget("weights:in_force", ["version", "swept"]))
        return int(fields[0] or -1), int(fields[1] or -1)

    def catalogue(self) -> dict[str, CatalogueTags]:
        """Give the tags of every product of the catalogue."""
        products: dict[str, CatalogueTags] = {}
        rows = self._ask(lambda: list(self._client.hscan_iter("catalog:products", count=_KEYS_A_CALL)))
        for product_id, row in rows:
            try:
                product = json.loads(row)
                tags, since = product.get("tags") or [], product.get("tags_since_ms")
            except (ValueError, AttributeError):
                continue
            usable = [tag for tag in tags if isinstance(tag, str) and 1 <= len(tag) <= 64]
            products[product_id] = CatalogueTags(list(dict.fromkeys(usable))[:32], since)
        return products

    def read_into(self, database: duckdb.DuckDBPyConnection, tell: Callable[[int, int], None]) -> None:
        """Read every key into tables of ``database``; ``tell`` is given keys read and about how many there are."""
        database.execute(_TABLES)
        total = int(self._ask(self._client.dbsize))
        read = 0
        for keys in _batched(self._scan(), _KEYS_A_CALL):
            self._read_keys(database, keys)
            read += len(keys)
            tell(read, total)
        for key, table in zip(_STATISTICS, ("stored_products", "stored_tags", "stored_totals"), strict=True):
            fields = self._ask(lambda key=key: self._client.hgetall(key))  # type: ignore[misc]
            _insert(database, table, list(fields), list(fields.values()))

    def _scan(self) -> Iterator[str]:
        cursor, seen = 0, set[str]()
        while True:
            cursor, keys = self._ask(lambda at=cursor: self._client.scan(at, count=_KEYS_A_CALL))  # type: ignore[misc]
            fresh = [key for key in keys if key not in seen]  # a key may come twice while Redis grows
            seen.update(fresh)
            yield from fresh
            if cursor == 0:
                return

    def _read_keys(self, database: duckdb.DuckDBPyConnection, keys: list[str]) -> None:
        scores, counts, bought = list[tuple[str, str]](), list[tuple[str, str]](), list[tuple[str, str]]()
        others: list[str] = []
        for key in keys:
            if key.startswith(_PROFILE):
                scores.append((key, key.removeprefix(_PROFILE)))
            elif beside := _BESIDE.fullmatch(key):
                user = beside["plain"] or beside["braces"]
                named = counts if "counts" in (beside["what"], beside["what_too"]) else bought
                named.append((key, user))
            elif key not in _HOUSEKEEPING and key not in _STATISTICS:
                others.append(key)
        asked = [*(("HGETALL", key) for key, _ in scores + counts), *(("SMEMBERS", key) for key, _ in bought)]
        answers = iter(self._ask(lambda: self._pipelined(asked)))
        for table, named in (("stored_scores", scores), ("stored_counts", counts)):
            users: list[str] = []
            names: list[str] = []
            values: list[str] = []
            for _, user in named:
                fields = cast("dict[str, str]", next(answers))
                users += [user] * len(fields)
                names += fields.keys()
                values += fields.values()
            _insert(database, table, users, names, values)
        members = [(user, product) for _, user in bought for product in cast("set[str]", next(answers))]
        if members:
            _insert(database, "stored_purchases", *zip(*members, strict=True))
        _insert(database, "stored_others", others)

    def _pipelined(self, commands: Iterable[tuple[str, str]]) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

    def _ask(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except redis.RedisError as exc:
            raise CommandError(f"what Redis holds can't be read: {exc}") from exc


def _batched(keys: Iterator[str], most: int) -> Iterator[list[str]]:
    while batch := list(islice(keys, most)):
        yield batch


def _insert(database: duckdb.DuckDBPyConnection, table: str, *columns: Any) -> None:
    if len(columns[0]) == 0:
        return
    names = [f"f{number}" for number in range(len(columns))]
    rows = pa.table([pa.array(column, pa.string()) for column in columns], names=names)
    database.register("rows", rows)
    database.execute(f"INSERT INTO {table} FROM rows")
    database.unregister("rows")
