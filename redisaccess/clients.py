"""The client for a URL of Redis. Nothing connects before the first command."""

from __future__ import annotations

from functools import partial
from typing import Any

import redis
from redis.cluster import ClusterNode
from redis.sentinel import Sentinel

from reccore.redis_url import CLUSTER, SENTINEL, RedisUrl, parse_redis_url
from redisaccess.cluster import ClusterClient, OneCluster

_SENTINEL_SECONDS = 1.0
"""How long one Sentinel is waited for before the next one is asked, at most."""
_OF_CONNECTIONS = ("socket_timeout", "socket_connect_timeout")


def client_of(url: str, **options: Any) -> Any:
    """Make a client: ``redis.Redis``, or for a cluster a :class:`ClusterClient`, which takes the same calls.

    ``options`` are those of redis-py's connections. With Sentinel every new connection asks for the master of that
    moment, so after a failover the next one is right.

    Raises:
        ValueError: The URL can't be read.
    """
    parsed = parse_redis_url(url)
    if parsed.kind == SENTINEL:
        return _master(parsed, options)
    if parsed.kind == CLUSTER:
        nodes = [
            ClusterNode(host, port)  # type: ignore[no-untyped-call]
            for host, port in parsed.hosts
        ]
        return ClusterClient(partial(OneCluster, startup_nodes=nodes, **_access(parsed), **options))
    return redis.Redis.from_url(url, **options)


def _master(parsed: RedisUrl, options: dict[str, Any]) -> redis.Redis:
    given = dict(parsed.options)
    of_sentinels = {name: min(options.get(name) or _SENTINEL_SECONDS, _SENTINEL_SECONDS) for name in _OF_CONNECTIONS}
    own = {"username": given.pop("sentinel_username", None), "password": given.pop("sentinel_password", None)}
    sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
        parsed.hosts, sentinel_kwargs={**of_sentinels, **own, **_tls(parsed)}
    )
    master: redis.Redis = sentinels.master_for(parsed.service, db=parsed.database, **_access(parsed), **options)
    return master


def _access(parsed: RedisUrl) -> dict[str, Any]:
    return {"username": parsed.username or None, "password": parsed.password or None, **_tls(parsed)}


def _tls(parsed: RedisUrl) -> dict[str, Any]:
    if not parsed.has_tls:
        return {}
    return {"ssl": True, **{name: value for name, value in parsed.options if name == "ssl_ca_certs"}}
