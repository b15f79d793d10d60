"""A rebuild on a cluster: the live keys, and those of a namespace that take their place slot by slot."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from reccore import layout
from reccore.namespaces import LIVE, PREFIX, Namespace
from redisaccess.clients import client_of
from redisaccess.scanning import pages_of_keys
from reweigh.cluster_exchange import ClusterExchange
from reweigh.errors import CommandError
from reweigh.progress import Tell
from reweigh.sides import asked, contents, pairs_of, read_records

_OF_ONE_REBUILD: Final = re.compile(r"\d+")
_OF_ANY_REBUILD: Final = f"^{PREFIX}%d+:"
_KEYS_A_PAGE: Final = 1_000


class Namespaces:
    """The live keys of a cluster, and those of a namespace: one of its own for each rebuild, unless named.

    Nothing is copied for the exchange: what does not follow from the events stays where it is.
    """

    def __init__(self, url: str, name: str | None = None) -> None:
        if name is not None and _OF_ONE_REBUILD.fullmatch(name):
            raise CommandError(f"the namespace is {name}; such names are made for rebuilds that are not kept")
        self._url, self._named = url, name is not None
        try:
            self._namespace = Namespace(name or str(int(time.time())))
        except ValueError as exc:
            raise CommandError(str(exc)) from exc
        self._client = client_of(url, decode_responses=True, socket_timeout=60.0, socket_connect_timeout=10.0)
        self._exchange = ClusterExchange(self._client, self._namespace)

    @property
    def place(self) -> str:
        """Say where it is rebuilt."""
        return f"keys of the cluster that begin with {self._namespace.beginning}"

    @property
    def job_url(self) -> str:
        """Give the ``REDIS_URL`` of the job that rebuilds."""
        return self._url

    @property
    def job_options(self) -> tuple[str, ...]:
        """Give the options by which that job writes there."""
        return ("--redis-namespace", self._namespace.name)

    @property
    def has_catalogue(self) -> bool:
        """Whether there is a live catalogue."""
        return bool(asked(lambda: self._client.exists(layout.CATALOG)))

    def close(self) -> None:
        """Disconnect."""
        self._exchange.close()
        self._client.close()

    def unfinished(self) -> Path | None:
        """Give the savepoint of an exchange that has begun, and take up its namespace."""
        found = asked(lambda: self._client.hgetall(layout.EXCHANGE))
        if not found:
            return None
        self._namespace = Namespace(found["namespace"])
        self._exchange = ClusterExchange(self._client, self._namespace)
        return Path(found["savepoint"])

    def prepare(self) -> None:
        """Remove what earlier rebuilds have left, and mark the namespace; refused where it is somebody's."""
        if self._named:
            mark = self._namespace.key(layout.slot_writes_key(0))
            ours = asked(lambda: self._client.hexists(mark, "rebuild"))
            if self._is_filled() and not ours:
                raise CommandError(
                    f"there are {self.place} already, and no rebuild of ours was interrupted that has made them: give "
                    "--drop to remove them, or another name"
                )
            self.drop()
        self._exchange.empty(_OF_ANY_REBUILD)
        self._exchange.mark()

    def read_by_rebuild(self) -> int:
        """Count the records that the rebuilding job has read, by its totals."""
        return read_records(asked(lambda: self._client.hgetall(self._namespace.key(layout.TOTALS))))

    def weights_versions(self) -> tuple[str | None, ...]:
        """Give the version of the weights that is in force, then the versions that the rebuild has used."""
        live = asked(lambda: self._client.hget(layout.WEIGHTS_IN_FORCE, "version"))
        return live, *sorted(self._exchange.versions())

    def pairs(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, Any, Any]]:
        """Give each key that one of them holds, or each of ``keys``, with what is live and what is rebuilt."""
        chosen = {*self._keys(LIVE), *self._keys(self._namespace)} if keys is None else set(keys)

        def of_side(side: Namespace, some: list[str]) -> list[Any]:
            return asked(lambda: contents(self._client, some, side.key))

        return pairs_of(chosen, partial(of_side, LIVE), partial(of_side, self._namespace))

    def begin(self, savepoint: Path) -> None:
        """Begin the exchange: keep every job from writing, and note ``savepoint``."""
        self._exchange.begin(str(savepoint))

    def abandon(self) -> bool:
        """Undo that; gives False, and does nothing, when some of it is exchanged already."""
        return self._exchange.abandon()

    def finish(self, tell: Tell) -> None:
        """Carry out what is left of the exchange; waits for a node that is away."""
        self._exchange.finish(tell)

    def drop(self) -> None:
        """Remove what was rebuilt."""
        self._exchange.empty(f"^{self._namespace.beginning.replace('-', '%-')}")

    def keep(self) -> None:
        """Leave what was rebuilt to whoever asked for it."""
        self._exchange.unmark()

    def _is_filled(self) -> bool:
        return bool(asked(lambda: self._client.exists(self._namespace.key(layout.TOTALS))))

    def _keys(self, side: Namespace) -> Iterator[str]:
        match = f"{side.beginning}*" if side != LIVE else None
        pages = pages_of_keys(self._client, match=match, count=_KEYS_A_PAGE)
        while (page := asked(lambda: next(pages, None))) is not None:
            yield from (key for stored in page if (key := side.key_of(stored)) is not None)
