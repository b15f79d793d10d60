"""The job's totals, as Redis holds them."""

from __future__ import annotations

from typing import Any

import redis

from reccore import layout
from reccore.totals import Totals, totals_from_rows


class TotalsReader:
    """Reads ``{stats}:totals``; quick to give up, because a scrape must not wait for Redis."""

    def __init__(self, url: str, *, timeout_ms: int) -> None:
        seconds = timeout_ms / 1000
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, decode_responses=True, max_connections=4
        )

    def read(self) -> Totals | None:
        """Give the totals, None when Redis is away."""
        try:
            rows = self._redis.hgetall(layout.TOTALS)
            return totals_from_rows({name: int(row) for name, row in rows.items()})
        except (redis.RedisError, ValueError):
            return None

    def stop(self) -> None:
        """Close the connections."""
        self._redis.close()
