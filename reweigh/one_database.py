"""What works with one database of Redis only, and says so at once."""

from __future__ import annotations

from reccore.redis_url import CLUSTER, parse_redis_url
from reweigh.errors import CommandError


def refuse_cluster(url: str, command: str, why: str) -> None:
    """Raise :class:`CommandError` where ``REDIS_URL`` names a cluster."""
    if parse_redis_url(url).kind == CLUSTER:
        raise CommandError(f"REDIS_URL: a Redis Cluster is not supported by `{command}`: {why}")
