"""The stack on which rows run: one for all rows with the same settings, a fresh one after a row that failed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import redis

from deploy.local import Stack
from faults.ledger import EXTRA_EVENT_TYPES, MOST_PRODUCTS_PER_USER, MOST_TAGS_PER_USER, RECENT_EVENTS
from faults.proxy import ProxiedStack
from faults.registry import Row
from faults.run import client_of
from faults.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Ground:
    """A running stack with its traffic, and a client of its Redis."""

    stack: Stack
    traffic: Traffic
    redis: redis.Redis


class Grounds:
    """Gives each row its ground; as a context manager it stops what it started."""

    def __init__(self, output: Path, seed: int, tell: Callable[[str], None]) -> None:
        self._home, self._seed, self._tell = output / "stack", seed, tell
        self._held = ExitStack()
        self._kind: object = None
        self._ground: Ground | None = None

    def __enter__(self) -> Grounds:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def ground_for(self, row: Row) -> Ground:
        """Give a stack with the row's settings: the one there is, or a fresh one with nothing in it."""
        kind = (dict(row.settings), row.behind_proxy)
        if self._ground is None or self._kind != kind:
            self.leave()
            self._kind, self._ground = kind, self._begin(row)
        return self._ground

    def leave(self, keep_logs_as: str = "") -> None:
        """Stop the stack and remove its data; its logs are kept under a name that is given."""
        self._ground = None
        self._held.close()
        if keep_logs_as and (self._home / "log").exists():
            kept = self._home.with_name(keep_logs_as)
            shutil.rmtree(kept, ignore_errors=True)
            shutil.move(self._home / "log", kept)
            self._tell(f"logs are kept in {kept}")
        shutil.rmtree(self._home, ignore_errors=True)

    def _begin(self, row: Row) -> Ground:
        chosen = {
            "EXTRA_EVENT_TYPES": EXTRA_EVENT_TYPES,
            "MOST_TAGS_PER_USER": str(MOST_TAGS_PER_USER),
            "MOST_PRODUCTS_PER_USER": str(MOST_PRODUCTS_PER_USER),
            "RECENT_EVENTS": str(RECENT_EVENTS),
        }
        environment = {**os.environ, **chosen, **row.settings}
        Stack(self._home).down()  # of a run that was killed
        shutil.rmtree(self._home, ignore_errors=True)
        self._tell("starting a stack")
        kind = ProxiedStack if row.behind_proxy else Stack
        stack = self._held.enter_context(kind(self._home, environment=environment, tell=lambda _: None))
        traffic = self._held.enter_context(Traffic(stack.env["KAFKA_BOOTSTRAP"], self._seed))
        client = self._held.enter_context(client_of(stack.addresses.redis_url))
        return Ground(stack, traffic, client)
