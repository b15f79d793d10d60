"""ZooKeeper in memory, for tests: one server, any number of sessions, faults on request."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from zkconfig.background import RunsInBackground
from zkconfig.coordination import ANY_VERSION, Create, Node, NodeCallback, Operation, SetData
from zkconfig.errors import ConfigUnavailable, Conflict


@dataclass
class MemoryServer:
    """The nodes and the transaction number. ``up = False`` disconnects every session, as a dead server does."""

    nodes: dict[str, Node] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)
    clients: list[MemoryCoordination] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    transaction: int = 0
    up: bool = True
    lose_answers: int = 0
    """So many commits are carried out, but their answers get lost."""
    sessions: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def set_up(self, up: bool) -> None:
        """Take the server away or bring it back; sessions survive that."""
        self.up = up
        if up:
            for client in self.clients:
                client.connection_came()

    def write(self, path: str, data: bytes) -> int:
        """Create or set a node, as a client of somebody else's does; gives the mzxid."""
        with self.lock:
            self._parents(path)
            return self.apply([SetData(path, data) if path in self.nodes else Create(path, data)])

    def remove(self, path: str) -> None:
        """Delete a node if it is there."""
        with self.lock:
            self.owners.pop(path, None)
            if self.nodes.pop(path, None) is not None:
                self.transaction += 1
                self._tell([path])

    def apply(self, operations: Sequence[Operation]) -> int:
        """Carry out all of the operations or none; gives the transaction number."""
        with self.lock:
            number = self.transaction + 1
            nodes = dict(self.nodes)
            paths = [_carry_out(nodes, each, number, self.numbers) for each in operations]
            self.nodes, self.transaction = nodes, number
            self._tell(paths)
            return number

    def _parents(self, path: str) -> None:
        parts = path.strip("/").split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            parent = "/" + "/".join(parts[:depth])
            if parent not in self.nodes:
                self.apply([Create(parent, b"")])

    def ensure(self, path: str) -> None:
        """Create a node and its parents where they are missing."""
        with self.lock:
            self._parents(path + "/-")

    def _tell(self, paths: Sequence[str]) -> None:
        for client in self.clients:
            client.nodes_changed(paths)


class MemoryCoordination(RunsInBackground):
    """A session with a :class:`MemoryServer`; fulfils :class:`zkconfig.coordination.Coordination`."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__("memory-zookeeper")
        self._server = server
        self._watches: list[tuple[str, NodeCallback]] = []
        self._session: int | None = None
        self._running = False

    def start(self) -> None:
        """Open the session."""
        if not self._running:
            self._running = True
            self._background.start()
            self._server.clients.append(self)
            self.connection_came()

    def stop(self) -> None:
        """End the session."""
        if self._running:
            self._running = False
            self._server.clients.remove(self)
            self._drop_ephemeral()
            self._background.stop()

    def expire(self) -> None:
        """End the session as a server does that has not heard of the client for too long."""
        self._drop_ephemeral()
        self.connection_came()

    @property
    def connected(self) -> bool:
        """Whether the server is up."""
        return self._running and self._server.up

    @property
    def session(self) -> int | None:
        """The session's number."""
        return self._session

    def read(self, path: str) -> Node | None:
        """Read a node."""
        self._require()
        return self._server.nodes.get(path)

    def read_many(self, paths: Sequence[str]) -> list[Node | None]:
        """Read several nodes."""
        return [self.read(path) for path in paths]

    def children(self, path: str) -> list[str]:
        """Names of the children in ascending order."""
        self._require()
        return sorted(name for each in self._server.nodes if (name := _child(path, each)))

    def ensure(self, path: str) -> None:
        """Create a node and its parents where they are missing."""
        self._require()
        self._server.ensure(path)

    def create_ephemeral(self, path: str, data: bytes) -> str:
        """Create a node that goes with the session."""
        self.ensure(path.rpartition("/")[0])
        created = f"{path}{next(self._server.numbers):010}"
        self._server.apply([Create(created, data)])
        self._server.owners[created] = self._session or 0
        self._lose_answer()
        return created

    def commit(self, operations: Sequence[Operation]) -> int:
        """Do all of the operations or none."""
        self._require()
        number = self._server.apply(operations)
        self._lose_answer()
        return number

    def _lose_answer(self) -> None:
        if self._server.lose_answers:
            self._server.lose_answers -= 1
            raise ConfigUnavailable("the answer got lost")

    def delete(self, path: str) -> None:
        """Delete a node if it is there."""
        self._require()
        self._server.remove(path)

    def settle(self, path: str) -> None:  # noqa: ARG002
        """Do nothing: in memory no read is ever late."""
        self._require()

    def watch(self, path: str, callback: NodeCallback) -> None:
        """Call back with the node now and after changes."""
        node = self.read(path)
        self._watches.append((path, callback))
        callback(node)

    def nodes_changed(self, paths: Sequence[str]) -> None:
        """Tell the watches, as the server does."""
        if self.connected:
            for path, callback in self._watches:
                if path in paths:
                    callback(self._server.nodes.get(path))

    def connection_came(self) -> None:
        """Take up the session, and catch up with what changed meanwhile."""
        if not self.connected:
            return
        if self._session is None:
            self._session = next(self._server.sessions)
        for path, callback in self._watches:
            callback(self._server.nodes.get(path))
        super().connection_came()

    def _drop_ephemeral(self) -> None:
        for path in [path for path, owner in self._server.owners.items() if owner == self._session]:
            self._server.remove(path)
        self._session = None

    def _require(self) -> None:
        if not self.connected:
            raise ConfigUnavailable("ZooKeeper is not connected")


def _carry_out(nodes: dict[str, Node], operation: Operation, number: int, numbers: itertools.count[int]) -> str:
    if isinstance(operation, Create):
        path = f"{operation.path}{next(numbers):010}" if operation.sequence else operation.path
        parent = path.rpartition("/")[0]
        if path in nodes or (parent and parent not in nodes):
            raise Conflict(f"{path} exists, or its parent does not")
        nodes[path] = Node(operation.data, 0, number, number, now := _now_ms(), now)
        return path
    found = nodes.get(operation.path)
    if found is None or operation.version not in (ANY_VERSION, found.version):
        raise Conflict(f"{operation.path} is not as seen")
    nodes[operation.path] = Node(operation.data, found.version + 1, number, found.created, found.created_ms, _now_ms())
    return operation.path


def _child(parent: str, path: str) -> str | None:
    above, _, name = path.rpartition("/")
    return name if above == parent.rstrip("/") and name else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
