"""The two Redis databases of a rebuild: the live one, and the one beside it that takes its place at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar, cast

import redis

from reccore import encoding, layout
from reccore.redis_url import parse_redis_url
from redisaccess.clients import client_of
from reweigh.errors import CommandError
from reweigh.one_database import refuse_cluster

T = TypeVar("T")

_BEING_REBUILT: Final = "rebuild:unfinished"
"""Marks a database that is ours to empty."""
_KEPT: Final = (
    layout.FOLLOWED,
    layout.CATALOG,
    layout.CATALOG_DETAILS,
    layout.CATALOG_REMOVED,
    layout.CATALOG_VERSION,
)
"""What is in Redis but does not follow from the events. Offsets come first: what is written meanwhile comes again."""
_NOT_COMPARED: Final = frozenset(
    {
        *_KEPT,
        layout.CANARY_OUTCOME,
        layout.CHANGES,
        layout.DROPPED_ITEMS,
        layout.DROPPED_TAGS,
        layout.PUBLISHING,
        layout.VERIFY_OUTCOME,
        layout.WEIGHTS_IN_FORCE,
        layout.WRITING,
        layout.WRITER_EPOCH,
        layout.WRITER_FENCE,
        _BEING_REBUILT,
    }
)
_KEYS_A_CALL: Final = 500


class Databases:
    """The live database of ``url`` and number ``beside``, by default the next one, of the same server.

    Raises :class:`CommandError` for all that Redis does not do.
    """

    def __init__(self, url: str, beside: int | None = None) -> None:
        refuse_cluster(url, "reweigh replay", "it has one database only, so nothing can be rebuilt beside the live one")
        parsed = parse_redis_url(url)
        self._live_number = parsed.database
        self._number = self._live_number + 1 if beside is None else beside
        if self._number == self._live_number:
            raise CommandError(f"database {self._number} is the live one")
        self.url_beside = parsed.with_database(self._number)
        self.live, self.beside = _client(url), _client(self.url_beside)

    def close(self) -> None:
        """Disconnect."""
        self.live.close()
        self.beside.close()

    def prepare(self) -> None:
        """Empty the database beside, which nobody else may use, and mark it as ours."""
        if _asked(self.live.info, "cluster").get("cluster_enabled"):
            raise CommandError("a Redis Cluster has one database only, so nothing can be rebuilt beside it")
        if _asked(self.beside.dbsize) and not _asked(self.beside.exists, _BEING_REBUILT):
            raise CommandError(
                f"database {self._number} of Redis is not empty, and no rebuild of ours has filled it: empty it, or "
                "name another one"
            )
        _asked(self.beside.flushdb)
        _asked(self.beside.set, _BEING_REBUILT, 1)

    @property
    def live_number(self) -> int:
        """Number of the live database."""
        return self._live_number

    @property
    def has_catalogue(self) -> bool:
        """Whether the live database holds a catalogue."""
        return bool(_asked(self.live.exists, layout.CATALOG))

    def copy_what_is_kept(self) -> None:
        """Copy what is not rebuilt: the catalogue, and ratings and interests of all users.

        The catalogue gets a version that its readers have not seen, so that they read everything anew.
        """
        for key in _KEPT:
            if not _asked(self.live.copy, key, key, self._number, True):
                _asked(self.beside.delete, key)
        # Vectors come last, each at once with what is about it, so that the two are of one profile.
        of_users = sorted(filter(layout.is_followed_key, self._keys(self.live)), key=_is_vector)
        for start in range(0, len(of_users), _KEYS_A_CALL):
            _asked(self._copy, of_users[start : start + _KEYS_A_CALL])
        _asked(self.beside.incr, layout.CATALOG_VERSION)
        self._copy_models()

    def _copy_models(self) -> None:
        """Copy what is stored of models at one moment, since a newer one may be published meanwhile."""
        for key in _asked(lambda: list(self.beside.scan_iter("model:*", _KEYS_A_CALL))):
            _asked(self.beside.delete, key)

        def copy(pipeline: Any) -> None:
            stored = pipeline.hgetall(layout.MODEL_BLOBS)
            keys = [layout.MODEL_CURRENT, layout.MODEL_VERSION, layout.MODEL_BLOBS]
            for version, chunks in stored.items():
                for name, count in json.loads(chunks).items():
                    keys += [layout.model_blob_key(version, name, number) for number in range(count)]
            pipeline.multi()
            for key in keys:
                pipeline.copy(key, key, self._number, True)

        _asked(self.live.transaction, copy, layout.MODEL_CURRENT, layout.MODEL_BLOBS)

    def _copy(self, keys: Sequence[str]) -> None:
        with self.live.pipeline(transaction=True) as pipeline:
            for key in keys:
                pipeline.copy(key, key, self._number, True)
                if _is_vector(key):
                    about = layout.about_interests_key(key.removeprefix(layout.INTERESTS_PREFIX))
                    pipeline.copy(about, about, self._number, True)
            pipeline.execute()

    def swap(self) -> None:
        """Exchange the two at once, for every client; then let go of what was the live one.

        Refused when the database beside has been emptied meanwhile: what it holds is not all of it.
        """
        if not _asked(self.beside.exists, _BEING_REBUILT):
            raise CommandError(
                f"database {self._number} of Redis was emptied meanwhile, so nothing was exchanged: run it again"
            )

        def exchange() -> None:
            with self.live.pipeline(transaction=True) as pipeline:
                pipeline.swapdb(self._live_number, self._number)
                pipeline.delete(_BEING_REBUILT)  # of the one that is live from here on
                pipeline.execute()

        _asked(exchange)
        _asked(self.beside.flushdb, True)

    def drop(self) -> None:
        """Empty the database beside."""
        _asked(self.beside.flushdb, True)

    def keep(self) -> None:
        """Leave the database beside to whoever asked for it."""
        _asked(self.beside.delete, _BEING_REBUILT)

    def read_by_rebuild(self) -> int:
        """Count the records that the rebuilding job has read, by its totals."""
        totals = cast("dict[str, str]", _asked(self.beside.hgetall, layout.TOTALS))
        return sum(int(count) for name, count in totals.items() if name.startswith("read:"))

    def weights_versions(self) -> tuple[str | None, str | None]:
        """Give the versions of the weights in force, in the live database and in the one beside."""
        live, beside = (_asked(each.hget, layout.WEIGHTS_IN_FORCE, "version") for each in (self.live, self.beside))
        return live, beside

    def pairs(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, Any, Any]]:
        """Give each key that one of them holds, or each of ``keys``, with what is live and what is beside."""
        chosen = {*self._keys(self.live), *self._keys(self.beside)} if keys is None else set(keys)
        compared = (
            key for key in chosen - _NOT_COMPARED if not (layout.is_model_key(key) or layout.is_followed_key(key))
        )
        wanted = sorted(key for key in compared if not layout.is_arrivals_key(key))
        for start in range(0, len(wanted), _KEYS_A_CALL):
            some = wanted[start : start + _KEYS_A_CALL]
            yield from zip(some, _contents(self.live, some), _contents(self.beside, some), strict=True)

    def _keys(self, client: Any) -> set[str]:
        return _asked(lambda: set(client.scan_iter(count=_KEYS_A_CALL)))


def _is_vector(key: str) -> bool:
    return key.startswith(layout.INTERESTS_PREFIX)


def _client(url: str) -> Any:
    return client_of(url, decode_responses=True, socket_timeout=60.0, socket_connect_timeout=10.0)


def _contents(client: Any, keys: list[str]) -> list[Any]:
    """Read keys of any type; of rows of counts only what follows from the events."""

    def read() -> list[Any]:
        with client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.type(key)
            types = pipeline.execute()
            for key, kind in zip(keys, types, strict=True):
                if kind == "zset":
                    pipeline.zrange(key, 0, -1, withscores=True)
                else:
                    readers = {"hash": pipeline.hgetall, "set": pipeline.smembers, "string": pipeline.get}
                    readers.get(kind, pipeline.dump)(key)
            return list(pipeline.execute())

    return [
        {name: encoding.compared_part(row) for name, row in each.items()} if _has_rows(key) and each else each
        for key, each in zip(keys, _asked(read), strict=True)
    ]


def _has_rows(key: str) -> bool:
    return layout.user_of_counts_key(key) is not None or layout.user_of_items_key(key) is not None


def _asked(action: Callable[..., T], *arguments: object) -> T:
    try:
        return action(*arguments)
    except redis.RedisError as exc:
        raise CommandError(f"Redis does not do it: {exc}") from exc
