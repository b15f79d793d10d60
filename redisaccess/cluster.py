"""A Redis Cluster behind the calls of one server.

redis-py's client connects when it is made, raises exceptions that are no ``RedisError``, and after a long outage may
have forgotten every node. So it is made at the first command, its exceptions are translated, and it is made anew from
the URL after each failure.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis._parsers import Encoder
from redis.cluster import ClusterNode, RedisCluster
from redis.commands import CoreCommands
from redis.exceptions import ClusterError, MovedError, RedisClusterException

from reccore.slots import slot

_AGAIN_SECONDS: Final = 0.1


class OneCluster(RedisCluster):
    """redis-py's client, which gives up after one repetition: who calls decides about further ones."""

    connection_pool: Any = None

    def __init__(self, **options: Any) -> None:
        super().__init__(cluster_error_retry_attempts=1, reinitialize_steps=1, **options)


class ClusterClient(CoreCommands):
    """Takes the calls of ``redis.Redis``, for keys of one slot each. Raises ``redis.RedisError``."""

    connection_pool: Any = None  # each node has one

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None
        self._away_until = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> ClusterClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self.forget()

    def forget(self) -> None:
        """Ask for the nodes and their slots anew, at the next command."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Carry out one command where its key is."""
        with self.translated() as cluster:
            return cluster.execute_command(*arguments, **options)

    def pipeline(self, transaction: bool = False) -> ClusterPipeline:
        """Give a pipeline, which is no transaction: its commands are carried out by several servers."""
        if transaction:
            raise ValueError("a transaction on a cluster is of one slot: see at_slot")
        return ClusterPipeline(self)

    def get_encoder(self) -> Any:
        """Give what encodes scripts."""
        return Encoder("utf-8", "strict", True)  # type: ignore[no-untyped-call]

    def masters(self) -> list[ClusterNode]:
        """Give the nodes that hold slots."""
        with self.translated() as cluster:
            nodes = {nodes[0].name: nodes[0] for nodes in cluster.nodes_manager.slots_cache.values()}
            return [nodes[name] for name in sorted(nodes)]

    def slots(self) -> dict[int, str]:
        """Give the name (host:port) of the master of each slot."""
        with self.translated() as cluster:
            return {number: nodes[0].name for number, nodes in cluster.nodes_manager.slots_cache.items()}

    def server(self, node: ClusterNode) -> redis.Redis:
        """Give a client of one node."""
        with self.translated() as cluster:
            server: redis.Redis = cluster.get_redis_connection(node)
            return server

    def server_of(self, key: str) -> redis.Redis:
        """Give a client of the node that holds a key."""
        with self.translated() as cluster:
            nodes = cluster.nodes_manager.slots_cache.get(slot(key))
            if not nodes:
                raise redis.ConnectionError(f"no node holds slot {slot(key)}")
            server: redis.Redis = cluster.get_redis_connection(nodes[0])
            return server

    @contextmanager
    def translated(self) -> Iterator[Any]:
        """Give redis-py's client; let go of it when the nodes are not as it knows them."""
        try:
            yield self._connected()
        except (redis.ConnectionError, redis.TimeoutError, ClusterError, MovedError):
            self.forget()
            raise
        except RedisClusterException as exc:
            self.forget()
            raise redis.ConnectionError(str(exc)) from exc

    def _connected(self) -> Any:
        with self._lock:
            if self._made is None:
                if time.monotonic() < self._away_until:
                    raise redis.ConnectionError("no node of the cluster answered just now")
                try:
                    self._made = self._make()
                except Exception:
                    # Threads that have waited for this one would try in vain, one after the other.
                    self._away_until = time.monotonic() + _AGAIN_SECONDS
                    raise
            return self._made


class ClusterPipeline(CoreCommands):
    """Commands that are sent together, to each node its own."""

    connection_pool: Any = None

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._commands: list[tuple[Any, ...]] = []

    def __enter__(self) -> ClusterPipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self._commands = []

    def execute_command(self, *arguments: Any, **options: Any) -> ClusterPipeline:
        """Queue one command."""
        self._commands.append((arguments, options))
        return self

    def execute(self) -> list[Any]:
        """Carry them out and give their answers in order. Raises the first error."""
        commands, self._commands = self._commands, []
        with self._client.translated() as cluster, cluster.pipeline() as pipeline:
            for arguments, options in commands:
                pipeline.execute_command(*arguments, **options)
            return list(pipeline.execute())


@contextmanager
def at_slot(client: Any, key: str) -> Iterator[Any]:
    """Give a client for transactions on keys of the slot of ``key``: of a cluster, that of the node that holds it."""
    if not isinstance(client, ClusterClient):
        yield client
        return
    try:
        yield client.server_of(key)
    except (redis.ConnectionError, redis.TimeoutError, MovedError, ClusterError):
        client.forget()
        raise
