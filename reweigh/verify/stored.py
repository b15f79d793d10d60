"""What Redis holds, as tables: every key of it, by the layout of ``docs/data_dictionary.md``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Any, Final, TypeVar, cast

import duckdb
import pyarrow as pa
import redis

from redisaccess.clients import client_of
from redisaccess.cluster import ClusterClient
from redisaccess.scanning import pages_of_keys
from reweigh.errors import CommandError
from reweigh.verify.recount import CatalogueTags

_Item = TypeVar("_Item")

_KEYS_A_CALL: Final = 500
_USERS_AT_ONCE: Final = 100
"""Read within one transaction: some milliseconds in which Redis serves nobody else."""
_ROWS_AN_INSERT: Final = 200_000
"""Each insert is a transaction of its own, which costs the database milliseconds whatever its size."""
_PROFILE: Final = "user:profile:"
_BESIDE: Final = re.compile(
    r"\{user:profile:(?P<plain>[^{}]+)\}:(?P<what>counts|items|purchased|recent|arrivals|ratings)"
    r"|\{\d+\}:(?P<what_too>counts|items|purchased|recent|arrivals|ratings):user:profile:(?P<braces>.+)",
    re.DOTALL,
)
_NOT_FROM_EVENTS: Final = re.compile(
    r"user_profile:.+|recommendations:.+|\{user_profile:[^{}]+\}:about|\{\d+\}:about:user_profile:.+"
    r"|\{\d+\}:(writes|followed|witness)",  # what a cluster has in each slot
    re.DOTALL,
)
_BESIDE_LIVE: Final = re.compile(r"rebuilt:(?P<name>[a-z0-9_-]+):\{\d+\}:(?P<key>.+)", re.DOTALL)
_NOT_COUNTED: Final = ("arrivals", "ratings")
"""The first are kept for a minute, for whoever waits for an event; the others come from a topic of their own."""
_STATISTICS: Final = ("{stats}:products", "{stats}:tags", "{stats}:totals")
_HOUSEKEEPING: Final = frozenset(
    {
        "{stats}:changes",
        "{stats}:dropped_items",
        "{stats}:dropped_tags",
        "{stats}:writing",
        "canary:outcome",
        "catalog:products",
        "catalog:details",
        "catalog:removed",
        "catalog:version",
        "follow:offsets",
        "publishing:recommendations",
        "rebuild:exchange",
        "verify:outcome",
        "weights:in_force",
        "writer:epoch",
        "writer:fence",
    }
)

_MODELS: Final = "model:"

_TABLES: Final = """
CREATE OR REPLACE TABLE stored_counts (user_id VARCHAR, tag VARCHAR, row VARCHAR);
CREATE OR REPLACE TABLE stored_scores (user_id VARCHAR, tag VARCHAR, score VARCHAR);
CREATE OR REPLACE TABLE stored_items (user_id VARCHAR, tag VARCHAR, row VARCHAR);
CREATE OR REPLACE TABLE stored_purchases (user_id VARCHAR, product_id VARCHAR);
CREATE OR REPLACE TABLE stored_recent (user_id VARCHAR, events VARCHAR);
CREATE OR REPLACE TABLE stored_products (product_id VARCHAR, row VARCHAR);
CREATE OR REPLACE TABLE stored_tags (tag VARCHAR, row VARCHAR);
CREATE OR REPLACE TABLE stored_totals (name VARCHAR, row VARCHAR);
CREATE OR REPLACE TABLE stored_others (key VARCHAR);
"""


class Stored:
    """Reads one Redis database; of a cluster what is live, or what a replay has kept under the name ``namespace``.

    Raises :class:`CommandError` when it can't.
    """

    def __init__(self, url: str, namespace: str = "") -> None:
        self._namespace = namespace
        self._names: dict[str, str] = {}
        try:
            self._client: Any = client_of(url, decode_responses=True, socket_timeout=60.0, socket_connect_timeout=10.0)
        except ValueError:  # its text may hold a part of the password
            raise CommandError("REDIS_URL is no URL of Redis") from None
        if namespace and not isinstance(self._client, ClusterClient):
            raise CommandError(f"--namespace {namespace}: only a Redis Cluster has namespaces")

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def weights_in_force(self) -> tuple[int, int]:
        """Give the version of the weights that writers use, and the version that all stored scores have (-1: none)."""
        if self._namespace:  # nobody brings it in line: each slot knows what its scores are of
            names = list(self._pages(f"rebuilt:{self._namespace}:{{*}}:writes"))
            of_slots = {each for each in self._pipelined([("HGET", name, "version") for name in names]) if each}
            version = int(self._ask(lambda: self._client.hget("weights:in_force", "version")) or -1)
            return version, version if of_slots <= {str(version)} else -1
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
        for product_id, since in self._ask(lambda: self._client.hgetall("catalog:removed")).items():
            products[product_id] = CatalogueTags([], int(since))
        return products

    def note_outcome(self, differences: int, records: int, finished_ms: int) -> None:
        """Leave what was found for the service's metrics. Raises :class:`CommandError`, also without the right to."""
        fields = {"differences": differences, "records": records, "finished_ms": finished_ms}
        self._ask(lambda: self._client.hset("verify:outcome", mapping=fields), "the outcome can't be noted")

    def read_into(self, database: duckdb.DuckDBPyConnection, tell: Callable[[int, int], None]) -> None:
        """Read every key into tables of ``database``; ``tell`` is given keys read and how many there are."""
        database.execute(_TABLES)
        keys = _Keys()
        for key in self._scan():
            keys.sort_in(key)
        read, total = 0, 2 * len(keys.counts_by_user) + len(keys.items) + len(keys.purchases) + len(keys.recent)
        counts, scores = _Table(database, "stored_counts"), _Table(database, "stored_scores")
        for users in _batched(keys.counts_by_user.items(), _USERS_AT_ONCE):
            self._read_profiles(scores, counts, users)
            read += 2 * len(users)
            tell(read, total)
        items = _Table(database, "stored_items")
        for some in _batched(keys.items, _USERS_AT_ONCE):
            answers = self._of_keys("HGETALL", [key for key, _ in some])
            for (_, user), found in zip(some, answers, strict=True):
                items.add(repeat(user, len(found)), found, found.values())
            read += len(some)
            tell(read, total)
        purchases = _Table(database, "stored_purchases")
        for bought in _batched(keys.purchases, _KEYS_A_CALL):
            answers = self._of_keys("SMEMBERS", [key for key, _ in bought])
            for (_, user), found in zip(bought, answers, strict=True):
                purchases.add(repeat(user, len(found)), found)
            read += len(bought)
            tell(read, total)
        recent = _Table(database, "stored_recent")
        for some in _batched(keys.recent, _KEYS_A_CALL):
            answers = self._of_keys("ZRANGE", [key for key, _ in some], "0", "-1", "WITHSCORES")
            recent.add([user for _, user in some], ["\n".join(each) for each in answers])
            read += len(some)
            tell(read, total)
        others = _Table(database, "stored_others")
        others.add(keys.others)
        tables = [counts, scores, items, purchases, recent, others]
        for key, name in zip(_STATISTICS, ("stored_products", "stored_tags", "stored_totals"), strict=True):
            (fields,) = self._of_keys("HGETALL", [key])
            tables.append(_Table(database, name))
            tables[-1].add(fields, fields.values())
        for table in tables:
            table.insert()

    def _scan(self) -> Iterator[str]:
        seen = set[str]()
        for stored in self._pages(f"rebuilt:{self._namespace}:*" if self._namespace else None):
            beside = _BESIDE_LIVE.fullmatch(stored)
            if (beside["name"] if beside else "") != self._namespace:
                continue
            key = stored
            if beside:
                key = beside["key"]
                self._names[key] = stored
            if key not in seen:  # a key may come twice while Redis grows
                seen.add(key)
                yield key

    def _pages(self, match: str | None) -> Iterator[str]:
        pages = pages_of_keys(self._client, match=match, count=_KEYS_A_CALL)
        while (keys := self._ask(lambda: next(pages, None))) is not None:
            yield from keys

    def _read_profiles(self, scores: _Table, counts: _Table, users: Sequence[tuple[str, str]]) -> None:
        """Read scores and counts of each user at one moment, so that no event comes in between."""
        keys = [key for user, counts in users for key in (_PROFILE + user, counts)]
        # On a cluster the two come one after the other from one node: an event in between shows as a difference.
        answers = self._of_keys("HGETALL", keys, transaction=not isinstance(self._client, ClusterClient))
        for table, found in ((scores, answers[::2]), (counts, answers[1::2])):
            for (user, _), fields in zip(users, found, strict=True):
                table.add(repeat(user, len(fields)), fields, fields.values())

    def _of_keys(self, command: str, keys: Sequence[str], *words: str, transaction: bool = False) -> list[Any]:
        return self._pipelined([(command, self._names.get(key, key), *words) for key in keys], transaction)

    def _pipelined(self, commands: Iterable[tuple[str, ...]], transaction: bool = False) -> list[Any]:
        def execute() -> list[Any]:
            with self._client.pipeline(transaction=transaction) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                return list(pipeline.execute())

        return cast("list[Any]", self._ask(execute))

    def _ask(self, action: Callable[[], Any], problem: str = "what Redis holds can't be read") -> Any:
        try:
            return action()
        except redis.RedisError as exc:
            raise CommandError(f"{problem}: {exc}") from exc


class _Keys:
    """The keys of a database by what they hold."""

    def __init__(self) -> None:
        self.counts_by_user: dict[str, str] = {}
        self.items: list[tuple[str, str]] = []
        self.purchases: list[tuple[str, str]] = []
        self.recent: list[tuple[str, str]] = []
        self.others: list[str] = []

    def sort_in(self, key: str) -> None:
        """Take note of one key."""
        if key.startswith(_PROFILE):
            user = key.removeprefix(_PROFILE)
            self.counts_by_user.setdefault(user, f"{{{key}}}:counts")  # if it has another name, that will come
        elif beside := _BESIDE.fullmatch(key):
            user = beside["plain"] or beside["braces"]
            what = beside["what"] or beside["what_too"]
            if what == "counts":
                self.counts_by_user[user] = key
            elif what not in _NOT_COUNTED:
                {"items": self.items, "purchased": self.purchases, "recent": self.recent}[what].append((key, user))
        elif not (
            key in _HOUSEKEEPING or key in _STATISTICS or key.startswith(_MODELS) or _NOT_FROM_EVENTS.fullmatch(key)
        ):
            self.others.append(key)


def _batched(items: Iterable[_Item], most: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, most)):
        yield batch


class _Table:
    """Rows on their way into a table of texts, column by column."""

    def __init__(self, database: duckdb.DuckDBPyConnection, name: str) -> None:
        self._database, self._name = database, name
        self._columns: tuple[list[str], ...] = ()

    def add(self, *columns: Iterable[str]) -> None:
        """Add rows, given as columns of one length."""
        if not self._columns:
            self._columns = tuple([] for _ in columns)
        for gathered, more in zip(self._columns, columns, strict=True):
            gathered.extend(more)
        if len(self._columns[0]) >= _ROWS_AN_INSERT:
            self.insert()

    def insert(self) -> None:
        """Insert what has been gathered."""
        if not self._columns or not self._columns[0]:
            return
        names = [f"f{number}" for number in range(len(self._columns))]
        rows = pa.table([pa.array(column, pa.string()) for column in self._columns], names=names)
        self._columns = ()
        self._database.register("rows", rows)
        self._database.execute(f"INSERT INTO {self._name} FROM rows")
        self._database.unregister("rows")
