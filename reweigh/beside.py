"""Where a rebuild goes, by ``REDIS_URL``: a second database of one server, or a namespace of a cluster."""

from __future__ import annotations

from reccore.redis_url import CLUSTER, parse_redis_url
from reweigh.databases import Databases
from reweigh.errors import CommandError
from reweigh.namespaces import Namespaces
from reweigh.sides import Sides


def sides_of(url: str, database: int | None = None, namespace: str | None = None) -> Sides:
    """Give what is live and the place beside it, by default the next database, or a namespace of its own.

    Raises :class:`CommandError` where Redis has no such places.
    """
    if parse_redis_url(url).kind == CLUSTER:
        if database is not None:
            raise CommandError(f"--database {database}: a Redis Cluster has one database only; give --namespace")
        return Namespaces(url, namespace)
    if namespace is not None:
        raise CommandError(f"--namespace {namespace}: only a Redis Cluster has namespaces; give --database")
    return Databases(url, database)
