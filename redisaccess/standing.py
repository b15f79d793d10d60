"""What has to stay as it is for a scan of all keys to miss none: servers, and on a cluster who holds which slots."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from reccore.slots import SLOTS
from redisaccess.cluster import ClusterClient


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one moment: a cursor of another ``name`` means nothing; unless ``is_settled`` keys are on their way."""

    name: str
    is_settled: bool


def standing(client: Any) -> Standing:
    """Ask the server, or all masters of the cluster, each of itself. Raises ``redis.RedisError``."""
    if not isinstance(client, ClusterClient):
        return Standing(_run(client), is_settled=True)
    client.forget()
    told, held, moving = [], 0, False
    for node in client.masters():
        server = client.server(node)
        nodes: Any = server.cluster("NODES")
        own = next(each for each in nodes.values() if "myself" in each["flags"])
        # The epoch rises with each slot that a node is given, so a slot that went and came back is noticed too.
        told.append((own["node_id"], own["epoch"], own["slots"], _run(server)))
        held += sum(int(each[-1]) - int(each[0]) + 1 for each in own["slots"])
        moving = moving or bool(own["migrations"])
    name = hashlib.sha256(repr(told).encode()).hexdigest()[:40]
    # Slots that nobody holds are those of a node that the others have not heard of yet.
    return Standing(name, is_settled=held == SLOTS and not moving)


def _run(server: Any) -> str:
    return str(server.info("server").get("run_id"))
