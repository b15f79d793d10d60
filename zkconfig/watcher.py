"""The configuration in force in this process, followed live.

What holds: a valid document of a newer version replaces the value as one reference, so that a reader takes document and
version together; an invalid one is counted, logged once, and changes nothing; nothing here ever waits for ZooKeeper in
the caller's thread, and without ZooKeeper the last good document, the seed, or the default stays in force.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic

from reccore.errors import WeightsError
from reccore.event_types import EventTypes
from reccore.weights import Weights, weights_of_record
from zkconfig import last_good
from zkconfig.coordination import Coordination, Node, SetData
from zkconfig.documents import D, Kind, weights_kind
from zkconfig.errors import Conflict
from zkconfig.initial import ensure_document
from zkconfig.kazoo_client import KazooCoordination
from zkconfig.presence import Presence

log = logging.getLogger(__name__)

REREAD_SECONDS = 30.0
RECORD_TRIES = 10


@dataclass(frozen=True, slots=True)
class InForce(Generic[D]):
    """A document, the version that names it, and whether it is known: False for a default that nobody confirmed.

    ``changed_ms`` is when ZooKeeper took it (epoch ms); 0 where that was not read with it.
    """

    document: D
    version: int
    known: bool
    changed_ms: int = 0


@dataclass(frozen=True, slots=True)
class WeightsInForce(InForce[Weights]):
    """The weights in force: one value, taken once for each answer or batch."""

    @property
    def weights(self) -> Weights:
        """The weights."""
        return self.document


class DocumentWatcher(Generic[D]):
    """Follows one kind of document. Start it in the process that uses it, after any fork."""

    def __init__(
        self,
        coordination: Coordination,
        kind: Kind[D],
        *,
        seed: tuple[D, int] | None = None,
        presence: Presence | None = None,
        reread_seconds: float = REREAD_SECONDS,
    ) -> None:
        self.kind = kind
        self.on_change: list[Callable[[InForce[D]], None]] = []
        """Called with each document that comes in force, in order; each call must be quick and wait for nobody."""
        self.on_reject: list[Callable[[], None]] = []
        self.coordination, self._presence, self._reread_seconds = coordination, presence, reread_seconds
        self._changed = threading.Condition()
        self._in_force = self._value(*(seed or (kind.default, 0)), known=seed is not None)
        self._rejected = self._rejected_version = 0
        self._recorded = 0
        self._watching = self._ensured = self._seen = False

    @property
    def in_force(self) -> InForce[D]:
        """The document in force now, with its version."""
        return self._in_force

    @property
    def rejected(self) -> int:
        """How many invalid documents were refused since the start."""
        return self._rejected

    @property
    def connected(self) -> bool:
        """Whether ZooKeeper answers, and what it holds has been looked at."""
        return self._seen and self.coordination.connected

    def start(self) -> None:
        """Begin to follow the document; returns at once, whether ZooKeeper is there or not."""
        self.coordination.start()
        self.coordination.on_connected(self._connection_came)
        if self._presence is not None:
            self._presence.have(self.kind.name, self._in_force.version)
        self.coordination.every(self._reread_seconds, self._read_again)

    def stop(self) -> None:
        """End the session with ZooKeeper."""
        self.coordination.stop()

    def wait_for_version(self, version: int, timeout: float) -> bool:
        """Wait until at least ``version`` is in force, for ``timeout`` seconds at most; gives whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_force.version >= version, timeout)

    def offer(self, document: D, version: int) -> None:
        """Take a document that was just written by this process, without waiting for ZooKeeper to tell of it."""
        self._take(document, version)

    def _value(self, document: D, version: int, *, known: bool, changed_ms: int = 0) -> InForce[D]:
        return InForce(document, version, known, changed_ms)

    def _connection_came(self) -> None:
        if not self._ensured:
            ensure_document(self.coordination, self.kind)
            self._ensured = True
        if not self._watching:
            self.coordination.watch(self.kind.last_good_path, self._last_good_changed)
            self.coordination.watch(self.kind.path, self._node_changed)
            self._watching = True

    def _read_again(self) -> None:
        self._connection_came()
        last, node = self.coordination.read_many([self.kind.last_good_path, self.kind.path])
        self._last_good_changed(last)
        self._node_changed(node)

    # The two callbacks run in kazoo's one callback thread: they must return None and raise nothing.

    def _last_good_changed(self, node: Node | None) -> None:
        try:
            found = last_good.decode(self.kind, node)
            if found is not None:
                self._recorded = max(self._recorded, found[1])
                self._take(*found, node.modified_ms if node else 0)
        except Exception:
            log.exception("the last good %s could not be read", self.kind.name)

    def _node_changed(self, node: Node | None) -> None:
        try:
            self._look_at(node)
        except Exception:
            log.exception("the %s document could not be looked at", self.kind.name)
        self._seen = True

    def _look_at(self, node: Node | None) -> None:
        if node is None:
            log.warning("%s is missing; version %d stays in force", self.kind.path, self._in_force.version)
            return
        try:
            document = self.kind.parse(node.data)
        except WeightsError as exc:
            self._reject(node, exc)
            return
        if not self._seen and node.modified < self._in_force.version:
            # A server that lags behind catches up. An ensemble that was made anew has restarted its numbers: then the
            # remembered version has to be forgotten by hand, which docs/weights.md describes.
            log.error("%s has version %d, behind the known %d", self.kind.path, node.modified, self._in_force.version)
        self._take(document, node.modified, node.modified_ms)
        if node.modified > self._recorded:
            self.coordination.submit(self._record)

    def _reject(self, node: Node, exc: WeightsError) -> None:
        with self._changed:
            if node.modified == self._rejected_version:
                return
            self._rejected_version = node.modified
            self._rejected += 1
        log.error(
            "%s: the document of version %d is refused (%s); version %d stays in force",
            self.kind.path,
            node.modified,
            exc,
            self._in_force.version,
        )
        for call in self.on_reject:
            call()

    def _take(self, document: D, version: int, changed_ms: int = 0) -> None:
        # Several threads come here: who tells others does so before the next may take, or they would hear an older
        # version last.
        with self._changed:
            if version <= self._in_force.version and self._in_force.known:
                return
            taken = self._value(document, version, known=True, changed_ms=changed_ms)
            self._in_force = taken
            self._changed.notify_all()
            if self._presence is not None:
                self._presence.have(self.kind.name, version)
            for call in self.on_change:
                try:
                    call(taken)
                except Exception:
                    log.exception("a listener for %s failed", self.kind.name)

    def _record(self) -> None:
        """Keep the document of another client as the last good one; who was faster has done it for everybody."""
        for _ in range(RECORD_TRIES):
            taken = self._in_force
            node = self.coordination.read(self.kind.last_good_path)
            found = last_good.decode(self.kind, node)
            if node is None or (found is not None and found[1] >= taken.version):
                return
            try:
                data = last_good.encode(taken.document, taken.version)
                self.coordination.commit([SetData(self.kind.last_good_path, data, node.version)])
            except Conflict:
                continue  # it has changed since it was read, to what may still be older
            return
        log.warning("%s changes too often, version %d is not kept there", self.kind.last_good_path, taken.version)


class WeightsWatcher(DocumentWatcher[Weights]):
    """Follows the weights, and registers this process with the version that it has in force."""

    def __init__(
        self,
        coordination: Coordination,
        event_types: EventTypes,
        *,
        role: str | None = None,
        last_good: tuple[Weights, int] | None = None,
        reread_seconds: float = REREAD_SECONDS,
    ) -> None:
        presence = Presence(coordination, role) if role else None
        super().__init__(
            coordination, weights_kind(event_types), seed=last_good, presence=presence, reread_seconds=reread_seconds
        )
        self.presence = presence

    @property
    def in_force(self) -> WeightsInForce:
        """The weights in force now, with their version."""
        taken = self._in_force
        assert isinstance(taken, WeightsInForce)  # noqa: S101  made by `_value` only
        return taken

    def _value(self, document: Weights, version: int, *, known: bool, changed_ms: int = 0) -> WeightsInForce:
        return WeightsInForce(document, version, known, changed_ms)


def open_watcher(
    hosts: str,
    event_types: EventTypes,
    *,
    role: str | None = None,
    last_good: tuple[Weights, int] | Mapping[str, str] | None = None,
    auth: str = "",
) -> WeightsWatcher:
    """Build and start a watcher with a ZooKeeper session of its own; returns at once.

    ``role`` (``api``, ``writer``, ``sweeper``) registers the process. ``last_good`` is what to begin with while
    ZooKeeper is away: weights and version, or the fields of the Redis hash ``weights:in_force``. ``auth`` is
    ``user:password`` of a digest.
    """
    seed = seed_from_fields(last_good, event_types) if isinstance(last_good, Mapping) else last_good
    watcher = WeightsWatcher(KazooCoordination(hosts, auth=auth), event_types, role=role, last_good=seed)
    watcher.start()
    return watcher


def seed_from_fields(fields: Mapping[str, str], event_types: EventTypes) -> tuple[Weights, int] | None:
    """Read weights and version from the fields of ``weights:in_force``; None when they hold nothing usable."""
    try:
        return weights_of_record(fields["document"], event_types), int(fields["version"])
    except (KeyError, ValueError, WeightsError):
        return None
