"""What the service tells of Redis itself: how large it is, how writing goes, what was verified.

And what the canary has left there: how fresh answers are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis

from reccore import layout
from reccore.canary import Measured, measured_of
from reccore.redis_url import CLUSTER, parse_redis_url
from reccore.write_figures import WriteFigures, decode_figures
from recsvc.errors import StoreUnavailable
from redisaccess.clients import client_of

_DRAWN: Final = 500
"""Keys drawn to estimate the number of users: a millisecond of Redis at each scrape."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What `reweigh verify` last found: differences (or more), the records it counted, and when (epoch s)."""

    differences: int
    records: int
    at: float


@dataclass(frozen=True, slots=True)
class StoredFigures:
    """Keys and bytes of the database, users by estimate, how each writer's writing goes, and the last verification."""

    keys: int
    used_bytes: int
    users: float
    writing: Mapping[str, WriteFigures]
    verified: Verified | None


class StoredFiguresReader:
    """Reads them; quick to give up, because a scrape must not wait for Redis."""

    def __init__(self, url: str, *, timeout_ms: int) -> None:
        seconds = timeout_ms / 1000
        self._redis: Any = client_of(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, decode_responses=True, max_connections=4
        )
        self._is_cluster = parse_redis_url(url).kind == CLUSTER

    def read(self) -> StoredFigures | None:
        """Give the figures; None when Redis is away, and of a cluster, whose nodes tell of themselves only."""
        if self._is_cluster:
            return None
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.dbsize()
                pipeline.info("memory")
                pipeline.hgetall(layout.WRITING)
                pipeline.hgetall(layout.VERIFY_OUTCOME)
                for _ in range(_DRAWN):
                    pipeline.randomkey()
                keys, memory, writing, verified, *drawn = pipeline.execute()
            profiles = sum((key or "").startswith(layout.PROFILE_PREFIX) for key in drawn)
            return StoredFigures(
                keys=keys,
                used_bytes=memory["used_memory"],
                users=keys * profiles / len(drawn),
                writing={writer: decode_figures(text) for writer, text in sorted(writing.items())},
                verified=_verified(verified),
            )
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


def _verified(fields: Mapping[str, str]) -> Verified | None:
    if not fields:
        return None
    return Verified(int(fields["differences"]), int(fields["records"]), int(fields["finished_ms"]) / 1000)
