"""What every benchmark is given: a running stack, how much to do, and a line to report progress on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import redis

from bench.errors import BenchmarkError
from deploy.local import Stack

T = TypeVar("T")
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Workbench:
    """A stack with nothing of anybody else's in it; ``quick`` asks for a small run that shows that it works.

    Args:
        stack: Started, with at least the parts that the benchmark names.
        rounds: How often a comparison is repeated.
        quick: Whether the sizes are the small ones.
        tell: Is given each line about the progress.
        sizes: Sizes by name that take the place of a benchmark's own, for tests.
    """

    stack: Stack
    rounds: int = 3
    quick: bool = False
    tell: Callable[[str], None] = print
    sizes: dict[str, int] = field(default_factory=dict)

    def size(self, name: str, full: int, quick: int) -> int:
        """Give the size to use."""
        return self.sizes.get(name, quick if self.quick else full)

    @property
    def kafka(self) -> str:
        """``host:port`` of the broker."""
        return self.stack.addresses.kafka

    def redis_url(self, database: int = 0) -> str:
        """URL of one of Redis's databases."""
        return f"{self.stack.addresses.redis_url.rpartition('/')[0]}/{database}"

    def redis(self, database: int = 0) -> Any:
        """Make a client that gives text; the caller closes it."""
        return redis.Redis.from_url(
            self.redis_url(database), decode_responses=True, socket_timeout=60, socket_connect_timeout=5
        )

    def empty_redis(self) -> None:
        """Remove everything from Redis, its append-only file too, so that each run starts from the same."""
        with self.redis() as client:
            client.flushall()
            self.until("the end of a rewrite of the append-only file", lambda: not _rewrites(client))
            client.bgrewriteaof()
            self.until("the rewrite of the append-only file", lambda: not _rewrites(client))

    def until(self, what: str, found: Callable[[], T], seconds: float = _PATIENCE_SECONDS, pause: float = 0.1) -> T:
        """Wait until ``found`` gives something true, and give that.

        Raises:
            BenchmarkError: It did not within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while not (value := found()):
            if time.monotonic() > deadline:
                raise BenchmarkError(f"waited {seconds:.0f} s in vain for {what}; logs are in {self.stack.home.log}")
            time.sleep(pause)
        return value


def _rewrites(client: Any) -> bool:
    state = client.info("persistence")
    return bool(state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])
