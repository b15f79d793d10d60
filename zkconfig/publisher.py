"""How the configuration is changed: validated, compared and set in one transaction with its history."""

from __future__ import annotations

import json
import logging
import random
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic

from reccore.errors import WeightsError
from reccore.event_types import EventTypes
from reccore.weights import Weights
from zkconfig import last_good
from zkconfig.coordination import ANY_VERSION, Coordination, Create, Node, Operation, SetData
from zkconfig.documents import D, Kind, weights_kind
from zkconfig.errors import ConfigRefused, ConfigUnavailable, Conflict, VersionMismatch
from zkconfig.initial import ensure_document
from zkconfig.presence import read_members
from zkconfig.watcher import DocumentWatcher, InForce

log = logging.getLogger(__name__)

NEWEST_KEPT = 100
ACKNOWLEDGE_SECONDS = 1.0
DEADLINE_SECONDS = 4.0
_LOOK_SECONDS = 0.004


@dataclass(frozen=True, slots=True)
class Published(Generic[D]):
    """An accepted change: ``acknowledged`` of ``members`` registered processes had it in force within a second."""

    document: D
    version: int
    acknowledged: int
    members: int


class DocumentPublisher(Generic[D]):
    """Changes one kind of document. With the process's own ``watcher``, that has a change in force on return."""

    def __init__(self, coordination: Coordination, kind: Kind[D], watcher: DocumentWatcher[D] | None = None) -> None:
        self.kind = kind
        self._coordination, self._watcher = coordination, watcher

    def ensure_default(self) -> None:
        """Create the document where it is missing. Raises ``ConfigUnavailable``."""
        ensure_document(self._coordination, self.kind)

    def get(self) -> InForce[D]:
        """Give the document in force: the node's, or the last good one while the node holds none that is valid."""
        return self._read()[1]

    def put(
        self,
        document: D,
        if_version: int | Collection[int] | None = None,
        *,
        by: str = "",
        acknowledge_seconds: float = ACKNOWLEDGE_SECONDS,
    ) -> Published[D]:
        """Put a document in force and wait, a second at most, until the registered processes have it.

        ``if_version`` is what must be in force for the change to be made (any of several); ``by`` stands in the history
        for who has made it. Raises ``VersionMismatch``;
        ``ConfigUnavailable`` when ZooKeeper is away, which says so when it is not known whether the change was made.
        """
        version = self._commit(document, (if_version,) if isinstance(if_version, int) else if_version, by)
        if self._watcher is not None:
            self._watcher.offer(document, version)
        acknowledged, members = self._acknowledged(version, acknowledge_seconds)
        self._trim_history()
        return Published(document, version, acknowledged, members)

    def _commit(self, document: D, if_version: Collection[int] | None, by: str) -> int:
        token, until, sent = uuid.uuid4().hex, time.monotonic() + DEADLINE_SECONDS, False
        while True:
            try:
                # An answer that got lost: look whether the change was made before making it (again).
                if sent and (made := self._find(token)):
                    return made
                sent = False
                node, current = self._read()
                if if_version is not None and current.version not in if_version:
                    raise VersionMismatch(self.kind.name, current.version)
                operations = self._operations(document, node, current.version, token, by)
                sent = True
                return self._coordination.commit(operations)
            except Conflict:
                sent = False
                self._pause(until, "other clients keep changing it")
            except ConfigRefused:
                raise
            except ConfigUnavailable as exc:
                if not sent:
                    raise
                self._pause(until, f"{exc}; whether the change was made is not known")

    def _pause(self, until: float, why: str) -> None:
        if time.monotonic() > until:
            raise ConfigUnavailable(f"{self.kind.name}: {why}")
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311  spreads racing clients

    def _operations(self, document: D, node: Node | None, before: int, token: str, by: str) -> list[Operation]:
        entry = {"document": document.as_dict(), "before": before, "by": by, "token": token}
        data = self.kind.render(document)
        return [
            *([Create(self.kind.path, b"")] if node is None else []),
            SetData(self.kind.path, data, 0 if node is None else node.version),
            SetData(self.kind.last_good_path, last_good.encode(document, None), ANY_VERSION),
            Create(f"{self.kind.history_path}/put-", json.dumps(entry).encode(), sequence=True),
        ]

    def _read(self) -> tuple[Node | None, InForce[D]]:
        self.ensure_parents()
        node, last = self._coordination.read_many([self.kind.path, self.kind.last_good_path])
        found = [InForce(self.kind.default, 0, known=False)]
        if kept := last_good.decode(self.kind, last):
            found.append(InForce(*kept, known=True))
        if self._watcher is not None:
            found.append(self._watcher.in_force)
        if node is not None:
            try:
                found.append(InForce(self.kind.parse(node.data), node.modified, known=True))
            except WeightsError:
                log.debug("%s holds no valid document now", self.kind.path)
        return node, max(found, key=lambda each: (each.version, each.known))

    def ensure_parents(self) -> None:
        """Create the nodes beside the document where they are missing; costs one read when they are there."""
        if None in self._coordination.read_many([self.kind.history_path, self.kind.last_good_path]):
            self._coordination.ensure(self.kind.history_path)
            self._coordination.ensure(self.kind.last_good_path)

    def _find(self, token: str) -> int | None:
        """Look for this change in the history; gives its version when it was made."""
        self._coordination.settle(self.kind.history_path)
        names = self._coordination.children(self.kind.history_path)[-NEWEST_KEPT:]
        nodes = self._coordination.read_many([f"{self.kind.history_path}/{name}" for name in names])
        return next((each.created for each in nodes if each is not None and token.encode() in each.data), None)

    def _acknowledged(self, version: int, seconds: float) -> tuple[int, int]:
        until = time.monotonic() + seconds
        acknowledged = members = 0
        while True:
            try:
                users = [each.versions for each in read_members(self._coordination) if self.kind.name in each.versions]
            except ConfigUnavailable:
                return acknowledged, members
            members = len(users)
            acknowledged = sum(each[self.kind.name] >= version for each in users)
            if acknowledged == members or time.monotonic() > until:
                return acknowledged, members
            time.sleep(_LOOK_SECONDS)

    def _trim_history(self) -> None:
        try:
            for name in self._coordination.children(self.kind.history_path)[:-NEWEST_KEPT]:
                self._coordination.delete(f"{self.kind.history_path}/{name}")
        except ConfigUnavailable as exc:
            log.info("the history of %s is trimmed at the next change: %s", self.kind.name, exc)


class WeightsPublisher(DocumentPublisher[Weights]):
    """Changes the weights."""

    def __init__(
        self, coordination: Coordination, event_types: EventTypes, watcher: DocumentWatcher[Weights] | None = None
    ) -> None:
        super().__init__(coordination, weights_kind(event_types), watcher)
