"""The weights that the stored scores follow, as Redis remembers them (``weights:in_force``)."""

from __future__ import annotations

from typing import Any

import redis

from reccore import layout
from redisaccess.clients import client_of


def read_weights_record(url: str, *, timeout_ms: int) -> dict[str, str]:
    """Give the fields of the record; none when Redis is away or holds no record."""
    seconds = timeout_ms / 1000
    client: Any = client_of(url, socket_timeout=seconds, socket_connect_timeout=seconds, decode_responses=True)
    try:
        return dict(client.hgetall(layout.WEIGHTS_IN_FORCE))
    except redis.RedisError:
        return {}
    finally:
        client.close()
