"""What the canary last measured, left in Redis, from where the service shows it at ``/ops``."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

import redis

from reccore import layout
from reccore.canary import Measured
from redisaccess.clients import client_of

log = logging.getLogger(__name__)

_SECONDS: Final = 1.0
"""How long Redis is waited for: the next event is sent no later for it."""


class StoredOutcome:
    """Writes to the Redis of ``url``."""

    def __init__(self, url: str) -> None:
        self._redis: Any = client_of(url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS)

    def note(self, outcome: str, seconds: float) -> None:
        """Keep it in the place of the one before; where Redis is away, only the log tells."""
        measured = Measured(outcome, seconds, int(time.time() * 1000))
        try:
            self._redis.hset(layout.CANARY_OUTCOME, mapping=measured.as_fields())
        except redis.RedisError as exc:
            log.warning("what was measured is not noted in Redis: %s", exc)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
