"""What Redis holds, as tables: every key of it, by the layout of ``docs/data_dictionary.md``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar, cast

import duckdb
import pyarrow as pa
import redis

from reweigh.errors import CommandError
from reweigh.verify.recount import CatalogueTags

_Item = TypeVar("_Item")

_KEYS_A_CALL: Final = 500
_USERS_AT_ONCE: Final = 100
"""Read within one transaction: some milliseconds in which Redis serves nobody else."""
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
        """Read every key into tables of ``database``; ``tell`` is given keys read and how many there are."""
        database.execute(_TABLES)
        keys = _Keys()
        for key in self._scan():
            keys.sort_in(key)
        read, total = 0, 2 * len(keys.counts_by_user) + len(keys.purchases)
        for users in _batched(keys.counts_by_user.items(), _USERS_AT_ONCE):
            self._read_profiles(database, users)
            read += 2 * len(users)
            tell(read, total)
        for bought in _batched(keys.purchases, _KEYS_A_CALL):
            answers = self._pipelined([("SMEMBERS", key) for key, _ in bought])
            members = [(user, each) for (_, user), found in zip(bought, answers, strict=True) for each in found]
            if members:
                _insert(database, "stored_purchases", *zip(*members, strict=True))
            read += len(bought)
            tell(read, total)
        _insert(database, "stored_others", keys.others)
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

    def _read_profiles(self, database: duckdb.DuckDBPyConnection, users: Sequence[tuple[str, str]]) -> None:
        """Read scores and counts of each user at one moment, so that no event comes in between."""
        commands = [("HGETALL", key) for user, counts in users for key in (_PROFILE + user, counts)]
        answers = self._pipelined(commands, transaction=True)
        for table, found in (("stored_scores", answers[::2]), ("stored_counts", answers[1::2])):
            names = [user for (user, _), fields in zip(users, found, strict=True) for _ in fields]
            tags = [tag for fields in found for tag in fields]
            _insert(database, table, names, tags, [value for fields in found for value in fields.values()])

    def _pipelined(self, commands: Iterable[tuple[str, str]], transaction: bool = False) -> list[Any]:
        def execute() -> list[Any]:
            with self._client.pipeline(transaction=transaction) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                return list(pipeline.execute())

        return cast("list[Any]", self._ask(execute))

    def _ask(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except redis.RedisError as exc:
            raise CommandError(f"what Redis holds can't be read: {exc}") from exc


class _Keys:
    """The keys of a database by what they hold."""

    def __init__(self) -> None:
        self.counts_by_user: dict[str, str] = {}
        self.purchases: list[tuple[str, str]] = []
        self.others: list[str] = []

    def sort_in(self, key: str) -> None:
        """Take note of one key."""
        if key.startswith(_PROFILE):
            user = key.removeprefix(_PROFILE)
            self.counts_by_user.setdefault(user, f"{{{key}}}:counts")  # if it has another name, that will come
        elif beside := _BESIDE.fullmatch(key):
            user = beside["plain"] or beside["braces"]
            if "counts" in (beside["what"], beside["what_too"]):
                self.counts_by_user[user] = key
            else:
                self.purchases.append((key, user))
        elif key not in _HOUSEKEEPING and key not in _STATISTICS:
            self.others.append(key)


def _batched(items: Iterable[_Item], most: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, most)):
        yield batch


def _insert(database: duckdb.DuckDBPyConnection, table: str, *columns: Any) -> None:
    if len(columns[0]) == 0:
        return
    names = [f"f{number}" for number in range(len(columns))]
    rows = pa.table([pa.array(column, pa.string()) for column in columns], names=names)
    database.register("rows", rows)
    database.execute(f"INSERT INTO {table} FROM rows")
    database.unregister("rows")
