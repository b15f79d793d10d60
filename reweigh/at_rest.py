"""Waiting until the job has dealt with every record: read = what Kafka holds, and the rest adds up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import redis

from reccore import layout
from reccore.event_types import EventTypes
from reccore.totals import Totals, totals_from_rows
from reweigh.errors import CommandError
from reweigh.kafka import end_offsets


def read_totals(client: redis.Redis) -> Totals:
    """Read the job's totals. Raises :class:`CommandError`."""
    try:
        rows = cast("dict[bytes, bytes]", client.hgetall(layout.TOTALS))
        return totals_from_rows({name.decode(): int(row.decode()) for name, row in rows.items()})
    except (redis.RedisError, ValueError) as exc:
        raise CommandError(f"the totals in Redis can't be read: {exc}") from exc


def wait_until_applied(
    client: redis.Redis,
    bootstrap: str,
    event_types: EventTypes,
    *,
    tell: Callable[[int, int], None],
    stuck_seconds: float = 90.0,
    settle_seconds: float = 1.0,
) -> Totals:
    """Wait until the job has read every record of the event topics and its totals have come to rest.

    ``tell`` is given records read and records there are. Raises :class:`CommandError` when nothing moves for
    ``stuck_seconds``.
    """
    last, moved_at = read_totals(client), time.monotonic()
    while True:
        expected = sum(end_offsets(bootstrap, event_types.topics.values()).values())
        totals = read_totals(client)
        now = time.monotonic()
        if totals != last:
            last, moved_at = totals, now
        tell(min(totals.records_in, expected), expected)
        if totals.records_in >= expected and now - moved_at >= settle_seconds:
            return totals
        if now - moved_at > stuck_seconds:
            raise CommandError(
                f"the job has read {totals.records_in:,} of {expected:,} records and does not go on: "
                "`make status` shows the job, .local/log/ its logs"
            )
        time.sleep(0.2)
