"""Everybody with a history, once through; interrupted, it goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from reccore import layout
from reccore.canary import CANARY
from redisaccess.scanning import pages_from, servers_of
from redisaccess.standing import Standing, standing
from reweigh.errors import CommandError

_KEYS_A_SCAN: Final = 1_000
_USERS_A_BATCH: Final = 100
_RESUMED_SECONDS: Final = 3_600
"""An older unfinished run is not gone on with: what it has sent is old by now."""
_SETTLING_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Position:
    """From where to go on to miss nobody after it: means something while Redis stands as it did."""

    standing: str
    master: str = ""
    cursor: int = 0


class Everybody:
    """All users. Raises ``redis.RedisError``, and :class:`CommandError` where slots don't come to rest."""

    def __init__(self, client: Any, *, restart: bool) -> None:
        self._redis = client
        self._standing = standing(client)
        self._begin, self.published = Position(self._standing.name), 0
        if not restart:
            self._resume(client.hgetall(layout.PUBLISHING))

    def batches(self) -> Iterator[tuple[Position, list[str]]]:
        """Give users, each batch with the position from which one has to go on to miss nobody after it.

        Redis may name a key twice while it grows; nobody is left out who was there all the time. Where a server was
        replaced, or slots have moved, all keys are gone over again for whoever was not among them.
        """
        seen, start = set[str](), self._begin
        while True:
            yield from self._once(start, seen)
            before, self._standing = self._standing, standing(self._redis)
            if self._standing == before and before.is_settled:
                return
            self._standing = self._settled()
            start = Position(self._standing.name)

    def note(self, position: Position, published: int) -> None:
        """Remember how far it is."""
        fields: dict[str, str | int] = {
            "server": position.standing,
            "master": position.master,
            "cursor": position.cursor,
            "published": published,
            "began": f"{time.time():.0f}",
        }
        self._redis.hset(layout.PUBLISHING, mapping=fields)

    def finish(self) -> None:
        """Forget how far it was."""
        self._redis.delete(layout.PUBLISHING)

    def _resume(self, found: dict[str, str]) -> None:
        try:
            if time.time() - float(found["began"]) < _RESUMED_SECONDS and found["server"] == self._standing.name:
                self._begin = Position(found["server"], found.get("master", ""), int(found["cursor"]))
                self.published = int(found["published"])
        except (KeyError, ValueError):
            pass

    def _once(self, start: Position, seen: set[str]) -> Iterator[tuple[Position, list[str]]]:
        for master, server in servers_of(self._redis).items():
            if master < start.master:
                continue
            cursor = start.cursor if master == start.master else 0
            for from_here, keys in pages_from(server, cursor, match="{*:*", count=_KEYS_A_SCAN):
                fresh = {user for key in keys if (user := layout.user_with_history(key)) is not None} - seen
                fresh.discard(CANARY)
                seen |= fresh
                batch = sorted(fresh)
                for first in range(0, len(batch), _USERS_A_BATCH):
                    yield Position(start.standing, master, from_here), batch[first : first + _USERS_A_BATCH]

    def _settled(self) -> Standing:
        deadline = time.monotonic() + _SETTLING_SECONDS
        while not (now := standing(self._redis)).is_settled:
            if time.monotonic() > deadline:
                raise CommandError("slots of the cluster are moving, so somebody may be missing: run it again")
            time.sleep(0.1)
        return now
