"""All keys of a database, wherever they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redisaccess.cluster import ClusterClient


def servers_of(client: Any) -> dict[str, Any]:
    """Give a client of each server that holds keys: by host:port the masters of a cluster, else under ""."""
    if isinstance(client, ClusterClient):
        return {node.name: client.server(node) for node in client.masters()}
    return {"": client}


def pages_of_keys(client: Any, *, match: str | None = None, count: int) -> Iterator[list[Any]]:
    """Give the keys page by page, of a cluster from one master after the other.

    A key that is there all the time is given at least once, unless slots move or a master changes meanwhile.
    """
    for server in servers_of(client).values():
        for _, keys in pages_from(server, 0, match=match, count=count):
            yield keys


def pages_from(server: Any, cursor: int, *, match: str | None = None, count: int) -> Iterator[tuple[int, list[Any]]]:
    """Give the keys of one server from ``cursor`` on, each page with the cursor that it was asked for by."""
    while True:
        asked_by = cursor
        cursor, keys = server.scan(asked_by, match=match, count=count)
        yield asked_by, keys
        if cursor == 0:
            return
