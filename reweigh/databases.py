"""The two Redis databases of a rebuild: the live one, and the one beside it that takes its place at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from flink_jobs.redis_store import epoch_floor
from reccore import layout
from reccore.redis_url import parse_redis_url
from redisaccess.clients import client_of
from reweigh.errors import CommandError
from reweigh.progress import Tell
from reweigh.sides import asked, contents, pairs_of, read_records

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
_KEYS_A_CALL: Final = 500
_EPOCHS_MEANWHILE: Final = 1_000
"""More than the live job's writers get until the exchange: one for each start of a subtask, one more each minute."""


class Databases:
    """The live database of ``url`` and number ``beside``, by default the next one, of the same server.

    Raises :class:`CommandError` for all that Redis does not do.
    """

    def __init__(self, url: str, beside: int | None = None) -> None:
        parsed = parse_redis_url(url)
        self._live_number = parsed.database
        self._number = self._live_number + 1 if beside is None else beside
        if self._number == self._live_number:
            raise CommandError(f"database {self._number} is the live one")
        self._url_beside = parsed.with_database(self._number)
        self.live, self.beside = _client(url), _client(self._url_beside)

    @property
    def place(self) -> str:
        """Say where it is rebuilt."""
        return f"database {self._number} of Redis"

    @property
    def job_url(self) -> str:
        """Give the ``REDIS_URL`` of the job that rebuilds."""
        return self._url_beside

    @property
    def job_options(self) -> tuple[str, ...]:
        """Give the options by which that job reads the live catalogue."""
        return ("--catalog-database", str(self._live_number))

    def close(self) -> None:
        """Disconnect."""
        self.live.close()
        self.beside.close()

    def prepare(self) -> None:
        """Empty the database beside, which nobody else may use, and mark it as ours."""
        if asked(self.live.info, "cluster").get("cluster_enabled"):
            raise CommandError("REDIS_URL names one node of a Redis Cluster: redis+cluster://… names the cluster")
        if asked(self.beside.dbsize) and not asked(self.beside.exists, _BEING_REBUILT):
            raise CommandError(
                f"database {self._number} of Redis is not empty, and no rebuild of ours has filled it: empty it, or "
                "name another one"
            )
        asked(self.beside.flushdb)
        asked(self.beside.set, _BEING_REBUILT, 1)
        # Each database gives epochs of its own. A writer of the job that is live now may outlive it, paused: none of
        # those that take its place may ever have the same one, or it would not be refused after the exchange.
        newest = max(int(asked(self.live.get, layout.WRITER_EPOCH) or 0), int(epoch_floor(time.time())))
        asked(self.beside.set, layout.WRITER_EPOCH, newest + _EPOCHS_MEANWHILE)
        # A writer that has not heard from ZooKeeper yet scores by these, and nobody would sweep here what it got wrong.
        if asked(self.live.copy, layout.WEIGHTS_IN_FORCE, layout.WEIGHTS_IN_FORCE, self._number, True):
            asked(self.beside.hdel, layout.WEIGHTS_IN_FORCE, "swept")  # that is how far the live database is

    @property
    def has_catalogue(self) -> bool:
        """Whether the live database holds a catalogue."""
        return bool(asked(self.live.exists, layout.CATALOG))

    def unfinished(self) -> Path | None:
        """Give None: the databases are exchanged at once."""
        return None

    def begin(self, savepoint: Path) -> None:  # noqa: ARG002 (the exchange is over when this returns)
        """Exchange the two."""
        self.copy_what_is_kept()
        self.swap()

    def abandon(self) -> bool:
        """Give False: what has begun is over."""
        return False

    def finish(self, tell: Tell) -> None:
        """Do nothing: all is done at once."""

    def copy_what_is_kept(self) -> None:
        """Copy what is not rebuilt: the catalogue, and ratings and interests of all users.

        The catalogue gets a version that its readers have not seen, so that they read everything anew.
        """
        for key in _KEPT:
            if not asked(self.live.copy, key, key, self._number, True):
                asked(self.beside.delete, key)
        # Vectors come last, each at once with what is about it, so that the two are of one profile.
        of_users = sorted(filter(layout.is_followed_key, self._keys(self.live)), key=_is_vector)
        for start in range(0, len(of_users), _KEYS_A_CALL):
            asked(self._copy, of_users[start : start + _KEYS_A_CALL])
        asked(self.beside.incr, layout.CATALOG_VERSION)
        self._copy_models()

    def _copy_models(self) -> None:
        """Copy what is stored of models at one moment, since a newer one may be published meanwhile."""
        for key in asked(lambda: list(self.beside.scan_iter("model:*", _KEYS_A_CALL))):
            asked(self.beside.delete, key)

        def copy(pipeline: Any) -> None:
            stored = pipeline.hgetall(layout.MODEL_BLOBS)
            keys = [layout.MODEL_CURRENT, layout.MODEL_VERSION, layout.MODEL_BLOBS]
            for version, chunks in stored.items():
                for name, count in json.loads(chunks).items():
                    keys += [layout.model_blob_key(version, name, number) for number in range(count)]
            pipeline.multi()
            for key in keys:
                pipeline.copy(key, key, self._number, True)

        asked(self.live.transaction, copy, layout.MODEL_CURRENT, layout.MODEL_BLOBS)

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
        if not asked(self.beside.exists, _BEING_REBUILT):
            raise CommandError(
                f"database {self._number} of Redis was emptied meanwhile, so nothing was exchanged: run it again"
            )

        def exchange() -> None:
            with self.live.pipeline(transaction=True) as pipeline:
                pipeline.swapdb(self._live_number, self._number)
                pipeline.delete(_BEING_REBUILT)  # of the one that is live from here on
                pipeline.execute()

        asked(exchange)
        asked(self.beside.flushdb, True)

    def drop(self) -> None:
        """Empty the database beside."""
        asked(self.beside.flushdb, True)

    def keep(self) -> None:
        """Leave the database beside to whoever asked for it."""
        asked(self.beside.delete, _BEING_REBUILT)

    def read_by_rebuild(self) -> int:
        """Count the records that the rebuilding job has read, by its totals."""
        return read_records(asked(self.beside.hgetall, layout.TOTALS))

    def weights_versions(self) -> tuple[str | None, str | None]:
        """Give the versions of the weights in force, in the live database and in the one beside."""
        live, beside = (asked(each.hget, layout.WEIGHTS_IN_FORCE, "version") for each in (self.live, self.beside))
        return live, beside

    def pairs(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, Any, Any]]:
        """Give each key that one of them holds, or each of ``keys``, with what is live and what is beside."""
        chosen = {*self._keys(self.live), *self._keys(self.beside)} - {_BEING_REBUILT} if keys is None else set(keys)

        def of_side(client: Any, some: list[str]) -> list[Any]:
            return asked(contents, client, some)

        return pairs_of(chosen, partial(of_side, self.live), partial(of_side, self.beside))

    def _keys(self, client: Any) -> set[str]:
        return asked(lambda: set(client.scan_iter(count=_KEYS_A_CALL)))


def _is_vector(key: str) -> bool:
    return key.startswith(layout.INTERESTS_PREFIX)


def _client(url: str) -> Any:
    return client_of(url, decode_responses=True, socket_timeout=60.0, socket_connect_timeout=10.0)
