"""ZooKeeper through kazoo. The one module in which kazoo's names and exceptions appear."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState, ZnodeStat
from kazoo.recipe.watchers import DataWatch
from kazoo.retry import KazooRetry
from kazoo.security import ACL, make_digest_acl

from zkconfig.background import RunsInBackground
from zkconfig.coordination import Create, Node, NodeCallback, Operation
from zkconfig.errors import ConfigRefused, ConfigUnavailable, Conflict

SESSION_SECONDS = 6.0
OPERATION_SECONDS = 2.0
_FIRST_ANSWER_SECONDS = 1.5
_NOT_AS_SEEN = (BadVersionError, NodeExistsError, NoNodeError)
_NOT_TRIED = (RolledBackError, RuntimeInconsistency)
_NOT_ALLOWED = "ZooKeeper does not let this user {} (ZOOKEEPER_AUTH)"


# At DEBUG kazoo writes each request into its log, the one with user and password too.
_log = logging.getLogger("zkconfig.kazoo")
_log.setLevel(logging.INFO)


class KazooCoordination(RunsInBackground):
    """One session of one process. Start it after a fork: an inherited client hangs.

    ``auth`` is ``user:password`` of a digest, "" for none. With one, nodes that this session creates are for that user
    alone.
    """

    def __init__(
        self,
        hosts: str,
        *,
        auth: str = "",
        session_seconds: float = SESSION_SECONDS,
        operation_seconds: float = OPERATION_SECONDS,
    ) -> None:
        super().__init__("zkconfig")
        self._seconds = operation_seconds
        # A server that comes back is found within half a second, however long it was away.
        again = KazooRetry(max_tries=-1, delay=0.05, max_delay=0.4, max_jitter=0.2)
        self._client = KazooClient(
            hosts=_asked_again(hosts, session_seconds),
            timeout=session_seconds,
            connection_retry=again,
            logger=_log,
            **digest_options(auth),
        )
        self._lock = threading.Lock()
        self._started = self._stopped = False

    def start(self) -> None:
        """Begin to connect; see :class:`zkconfig.coordination.Coordination` for this and all that follows."""
        with self._lock:
            if self._started:
                return
            self._started = True
        self._background.start()
        self._client.add_listener(self._session_changed)
        self._client.start_async()

    def stop(self) -> None:
        """End the session."""
        with self._lock:
            if not self._started or self._stopped:
                return
            self._stopped = True
        self._client.remove_listener(self._session_changed)
        self._client.stop()
        self._background.stop()
        self._client.close()

    @property
    def connected(self) -> bool:
        """Whether the session is connected now."""
        return bool(self._client.connected)

    @property
    def session(self) -> int | None:
        """The session's number."""
        client_id = self._client.client_id
        return int(client_id[0]) if client_id else None

    def read(self, path: str) -> Node | None:
        """Read a node."""
        return self.read_many([path])[0]

    def read_many(self, paths: Sequence[str]) -> list[Node | None]:
        """Read several nodes in one round trip."""
        with self._translated("read"):
            return [self._node(answer) for answer in [self._client.get_async(path) for path in paths]]

    def children(self, path: str) -> list[str]:
        """Names of the children in ascending order."""
        with self._translated("list"):
            try:
                return sorted(self._client.get_children_async(path).get(timeout=self._seconds))
            except NoNodeError:
                return []

    def ensure(self, path: str) -> None:
        """Create a node and its parents where they are missing."""
        with self._translated("create"):
            self._client.ensure_path_async(path).get(timeout=self._seconds)

    def create_ephemeral(self, path: str, data: bytes) -> str:
        """Create a node that goes with the session."""
        with self._translated("create"):
            created = self._client.create_async(path, data, ephemeral=True, sequence=True, makepath=True)
            return str(created.get(timeout=self._seconds))

    def commit(self, operations: Sequence[Operation]) -> int:
        """Do all of the operations or none."""
        transaction = self._client.transaction()
        for each in operations:
            if isinstance(each, Create):
                transaction.create(each.path, each.data, sequence=each.sequence)
            else:
                transaction.set_data(each.path, each.data, each.version)
        with self._translated("change"):
            results = transaction.commit_async().get(timeout=self._seconds)
        refused = [each for each in results if isinstance(each, Exception)]
        if refused:
            reasons = [type(each).__name__ for each in refused if not isinstance(each, _NOT_TRIED)]
            if any(isinstance(each, NoAuthError) for each in refused):
                raise ConfigRefused(_NOT_ALLOWED.format("change")) from refused[0]
            if any(isinstance(each, _NOT_AS_SEEN) for each in refused):
                raise Conflict(f"ZooKeeper refused the change: {', '.join(reasons)}") from refused[0]
            raise ConfigUnavailable(f"ZooKeeper refused the change: {', '.join(reasons)}") from refused[0]
        return max(int(each.mzxid) for each in results if isinstance(each, ZnodeStat))

    def delete(self, path: str) -> None:
        """Delete a node if it is there."""
        with self._translated("delete"):
            try:
                self._client.delete_async(path).get(timeout=self._seconds)
            except NoNodeError:
                return

    def settle(self, path: str) -> None:
        """Wait until everything written before shows in this session's reads."""
        with self._translated("synchronise"):
            self._client.sync_async(path).get(timeout=self._seconds)

    def watch(self, path: str, callback: NodeCallback) -> None:
        """Call back with the node now and after changes."""

        # Three arguments, so that kazoo never calls twice; no return value, because False would end the watch.
        def changed(data: bytes | None, stat: ZnodeStat | None, _event: object) -> None:
            callback(None if stat is None else _as_node(data or b"", stat))

        with self._translated("watch"):
            DataWatch(self._client, path, changed)

    def _node(self, answer: Any) -> Node | None:
        try:
            data, stat = answer.get(timeout=self._seconds)
        except NoNodeError:
            return None
        return _as_node(data, stat)

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        # A request made while disconnected would wait in kazoo's queue and might be carried out much later.
        if not self.connected:
            raise ConfigUnavailable(f"ZooKeeper is not connected, it can't {action}")
        try:
            yield
        except NoAuthError as exc:
            raise ConfigRefused(_NOT_ALLOWED.format(action)) from exc
        except (KazooException, KazooTimeoutError) as exc:
            raise ConfigUnavailable(f"ZooKeeper did not {action}: {type(exc).__name__}") from exc

    def _session_changed(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self.connection_came()


def _asked_again(hosts: str, session_seconds: float) -> str:
    """Name each server so often that none has much longer than a second for its first answer.

    Kazoo gives each name an equal share of the session's time. A server that takes a connection while it is still
    starting and never answers would keep the client of a lone name for all of it.
    """
    servers, slash, chroot = hosts.partition("/")
    names = servers.count(",") + 1
    return ",".join([servers] * math.ceil(session_seconds / _FIRST_ANSWER_SECONDS / names)) + slash + chroot


def digest_options(auth: str) -> dict[str, Any]:
    """Give kazoo's options for a session as ``user:password``, none for ""."""
    if not auth:
        return {}
    user, _, password = auth.partition(":")
    own: list[ACL] = [make_digest_acl(user, password, all=True)]
    return {"auth_data": [("digest", auth)], "default_acl": own}


def _as_node(data: bytes, stat: ZnodeStat) -> Node:
    return Node(data, stat.version, stat.mzxid, stat.czxid, stat.ctime, stat.mtime)
