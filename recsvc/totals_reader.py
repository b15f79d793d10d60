"""The job's totals, as Redis holds them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import redis

from reccore import layout
from reccore.totals import Totals, totals_from_rows
from redisaccess.clients import client_of


class TotalsReader:
    """Reads the totals, and what was dropped; quick to give up, because a scrape must not wait for Redis."""

    def __init__(self, url: str, *, timeout_ms: int) -> None:
        seconds = timeout_ms / 1000
        self._redis: Any = client_of(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, decode_responses=True, max_connections=4
        )

    def read(self) -> Totals | None:
        """Give the totals, None when Redis is away."""
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hgetall(layout.TOTALS)
                pipeline.get(layout.DROPPED_TAGS)
                pipeline.get(layout.DROPPED_ITEMS)
                rows, tags, items = pipeline.execute()
            totals = totals_from_rows({name: int(row) for name, row in rows.items()})
            return replace(totals, dropped_tags=int(tags or 0), dropped_items=int(items or 0))
        except (redis.RedisError, ValueError):
            return None

    def written_ms(self) -> int | None:
        """Give when the job last wrote statistics (epoch ms, by Redis' clock); None: never, or Redis is away."""
        try:
            newest = self._redis.xrevrange(layout.CHANGES, count=1)
        except redis.RedisError:
            return None
        return int(newest[0][0].partition("-")[0]) if newest else None

    def stop(self) -> None:
        """Close the connections."""
        self._redis.close()
