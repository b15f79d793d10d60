"""The store for a URL of Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from redis.backoff import NoBackoff
from redis.retry import Retry

from flink_jobs.cluster_store import ClusterStore
from flink_jobs.crowded_users import CappedHash
from flink_jobs.redis_store import DEFAULT_CAPS, RedisStore
from reccore.namespaces import LIVE, Namespace
from reccore.row_cap import RowCap
from redisaccess.clients import client_of
from redisaccess.cluster import ClusterClient

_SOCKET_TIMEOUT_SECONDS: Final = 5.0


def connected_store(
    url: str,
    *,
    patience_seconds: float,
    caps: Mapping[CappedHash, RowCap] = DEFAULT_CAPS,
    namespace: Namespace = LIVE,
) -> RedisStore:
    """Make a store, which keeps what ``caps`` allow; connects at the first command.

    It writes the live keys, or on a cluster those of a ``namespace``. Raises ``ValueError`` for one elsewhere.
    """
    client = client_of(
        url,
        decode_responses=True,
        socket_timeout=_SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=_SOCKET_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),  # retries are made by the store, in one place
    )
    if isinstance(client, ClusterClient):
        return ClusterStore(client, patience_seconds=patience_seconds, caps=caps, namespace=namespace)
    if namespace != LIVE:
        raise ValueError("only a Redis Cluster has namespaces: one server has further databases")
    return RedisStore(client, patience_seconds=patience_seconds, caps=caps)
