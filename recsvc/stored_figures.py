"""What the service tells of Redis itself: how large it is, how writing goes, what was verified.

And what the canary has left there: how fresh answers are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import redis

from reccore import layout
from reccore.canary import Measured, measured_of
from reccore.write_figures import WriteFigures, decode_figures
from recsvc.errors import StoreUnavailable
from redisaccess.clients import client_of
from redisaccess.cluster import ClusterClient
from redisaccess.scanning import servers_of

_DRAWN: Final = 500
"""Keys drawn to estimate the number of users, of all nodes together: a millisecond of Redis at each scrape."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What `reweigh verify` last found: differences (or more), the records it counted, and when (epoch s)."""

    differences: int
    records: int
    at: float


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """Keys and bytes of one server, and its users by estimate."""

    keys: int
    used_bytes: int
    users: float


@dataclass(frozen=True, slots=True)
class StoredFigures:
    """What each master tells (by host:port, "" where Redis is no cluster), how writing goes, what was verified."""

    nodes: Mapping[str, NodeFigures]
    writing: Mapping[str, WriteFigures]
    verified: Verified | None


class StoredFiguresReader:
    """Reads them; quick to give up, because a scrape must not wait for Redis."""

    def __init__(self, url: str, *, timeout_ms: int) -> None:
        seconds = timeout_ms / 1000
        self._client = partial(
            client_of,
            url,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            decode_responses=True,
            max_connections=4,
        )
        self._redis: Any = self._client()

    def read(self) -> StoredFigures | None:
        """Give the figures; None when Redis, or a node of the cluster, is away."""
        try:
            if not isinstance(self._redis, ClusterClient):
                return _figures(self._redis)
            # A client that asks for no key of a node doesn't learn that another has taken its place: so a new one.
            with self._client() as client:
                return _figures(client)
        except (redis.RedisError, ValueError, KeyError):
            return None

    def measured(self) -> Measured | None:
        """Give what the canary last measured, None where none has. Raises ``StoreUnavailable``."""
        try:
            return measured_of(self._redis.hgetall(layout.CANARY_OUTCOME))
        except redis.RedisError as exc:
            raise StoreUnavailable("Redis does not answer") from exc
        except ValueError as exc:
            raise StoreUnavailable(f"{layout.CANARY_OUTCOME} in Redis is no measurement: {exc}") from exc

    def stop(self) -> None:
        """Close the connections."""
        self._redis.close()


def _figures(client: Any) -> StoredFigures:
    nodes = servers_of(client)
    with client.pipeline(transaction=False) as pipeline:
        pipeline.hgetall(layout.WRITING)
        pipeline.hgetall(layout.VERIFY_OUTCOME)
        writing, verified = pipeline.execute()
    return StoredFigures(
        nodes={name: _node_figures(server, -(-_DRAWN // len(nodes))) for name, server in nodes.items()},
        writing={writer: decode_figures(text) for writer, text in sorted(writing.items())},
        verified=_verified(verified),
    )


def _node_figures(server: redis.Redis, draws: int) -> NodeFigures:
    with server.pipeline(transaction=False) as pipeline:
        pipeline.dbsize()
        pipeline.info("memory")
        for _ in range(draws):
            pipeline.randomkey()
        keys, memory, *drawn = pipeline.execute()
    profiles = sum((key or "").startswith(layout.PROFILE_PREFIX) for key in drawn)
    return NodeFigures(keys, memory["used_memory"], keys * profiles / len(drawn))


def _verified(fields: Mapping[str, str]) -> Verified | None:
    if not fields:
        return None
    return Verified(int(fields["differences"]), int(fields["records"]), int(fields["finished_ms"]) / 1000)
