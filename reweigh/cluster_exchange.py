"""What was rebuilt on a cluster takes the place of what is live (docs/adr/0018-replay-on-a-cluster.md).

Slot by slot, each at once: a script renames all keys that the slot has. After the first one there is no way back, since
some users are of the rebuild then; so every step may be repeated, and whoever comes after an end half-way goes on.

1. `begin`: ``rebuild:exchange`` names the namespace, and the state that the rebuild has come to.
2. Every slot is barred: no writer has a place there any more, and nobody gets one.
3. Who called makes that state the job's. Until here all of it can be undone (`abandon`), and afterwards no more.
4. `finish`: in every slot the rebuilt keys take the place of the live ones; last in that of everybody's statistics.
5. The bars are lifted, and ``rebuild:exchange`` goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from typing import Any, Final, TypeVar

import redis

from reccore import layout
from reccore.namespaces import Namespace
from reccore.slots import SLOTS, slot
from redisaccess.cluster import ClusterClient
from redisaccess.links import ClusterLink
from redisaccess.slot_scripts import SlotScript
from reweigh.errors import CommandError
from reweigh.progress import Tell
from reweigh.sides import asked

T = TypeVar("T")

_PATIENCE_SECONDS: Final = 120.0
"""How long a cluster without a node is waited for once there is no way back: longer than a failover takes."""
_PAUSE_SECONDS: Final = 0.5
_SLOTS_AT_ONCE: Final = 48
"""Readers of a node wait for what one packet has for it: with a million users some 20 ms."""

_MARK: Final = SlotScript("redis.call('HSET', KEYS[1], 'rebuild', ARGV[1]) return 1")
_UNMARK: Final = SlotScript("return redis.call('HDEL', KEYS[1], 'rebuild')")
_BAR: Final = SlotScript("""
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.find(field, '/', 1, true) then redis.call('HSET', KEYS[1], field, '0') end
end
redis.call('HSET', KEYS[1], 'exchange', ARGV[1])
return 1
""")
"""'0' is nobody's epoch: whoever had a place is refused from here on, also when the bar is lifted."""
_EXCHANGE: Final = SlotScript((resources.files("reweigh") / "exchange_slot.lua").read_text(encoding="utf-8"))
_LIFT: Final = SlotScript("return redis.call('HDEL', KEYS[1], 'exchange')")
_EMPTY: Final = SlotScript((resources.files("reweigh") / "empty_slot.lua").read_text(encoding="utf-8"))
_NOT_BARRED: Final = -2


class ClusterExchange:
    """The steps. They raise :class:`CommandError` for what Redis does not do."""

    def __init__(self, client: ClusterClient, namespace: Namespace) -> None:
        self._client, self._link, self._namespace = client, ClusterLink(client), namespace

    def close(self) -> None:
        """Disconnect."""
        self._link.close()

    def mark(self) -> None:
        """Say in each slot that a rebuild into the namespace is under way: what is lost takes the mark with it."""
        asked(lambda: self._everywhere(_MARK, [self._namespace.name], beside=True))

    def unmark(self) -> None:
        """Take the marks away."""
        asked(lambda: self._everywhere(_UNMARK, [], beside=True))

    def empty(self, beginning: str) -> None:
        """Remove all keys that begin with a Lua pattern."""
        asked(lambda: self._everywhere(_EMPTY, [beginning], at_once=_SLOTS_AT_ONCE))

    def versions(self) -> set[str]:
        """Give the versions of the weights that the rebuild's batches were of, by what the slots know."""
        commands = [("HGET", self._beside(number), "version") for number in range(SLOTS)]
        return {version for version in asked(lambda: self._link.ask(commands)) if version is not None}

    def begin(self, savepoint: str) -> None:
        """Bar all slots, and note that: the namespace, and the state from which the job is to go on.

        Refused when a slot has lost what was rebuilt there, or is on its way to another node. When it raises, nothing
        is changed, or `unfinished` tells of it.
        """
        if lost := self._without_mark():
            raise CommandError(
                f"{lost:,} slots of the cluster have lost what was rebuilt there, so nothing was exchanged: run it "
                "again"
            )
        if asked(self._slots_on_their_way):
            raise CommandError("slots of the cluster are being moved, so nothing was exchanged: run it again")
        fields = {"namespace": self._namespace.name, "savepoint": savepoint}
        try:
            asked(lambda: self._client.hset(layout.EXCHANGE, mapping=fields))
            asked(self._bar)
        except CommandError:
            self.abandon()
            raise

    def abandon(self) -> bool:
        """Undo `begin`; gives False, and does nothing, when a slot is exchanged already."""
        if self._without_mark():
            return False
        self._lift()
        return True

    def finish(self, tell: Tell) -> None:
        """Carry out what has begun, or what is left of it; waits for a node that is away.

        Raises :class:`CommandError` also when slots have moved meanwhile: some users may then be as they were.
        """
        before = self._patiently(self._shares)
        self._patiently(self._bar)
        everybody = slot(layout.TOTALS)
        of_users = [number for number in range(SLOTS) if number != everybody]
        for start in range(0, len(of_users), _SLOTS_AT_ONCE):
            self._exchange(of_users[start : start + _SLOTS_AT_ONCE])
            tell("slots exchanged", start, SLOTS)
        self._exchange([everybody])
        self._exchange(range(SLOTS))  # a replica that took over may have slots that are as they were
        # A version that readers have not seen: they read everybody's statistics anew.
        self._patiently(lambda: self._client.incr(layout.CATALOG_VERSION))
        # Some scores may be of the weights before: the sweeper brings them in line.
        self._patiently(lambda: self._client.hdel(layout.WEIGHTS_IN_FORCE, "swept"))
        for key in (layout.VERIFY_OUTCOME, layout.PUBLISHING):  # what was found, and a place among the keys, before
            self._patiently(partial(self._client.delete, key))
        self._lift()
        tell("slots exchanged", SLOTS, SLOTS)
        if self._patiently(self._shares) != before:
            raise CommandError(
                "slots of the cluster have moved during the exchange, so some users may be as they were: run it again"
            )

    def _exchange(self, numbers: Sequence[int]) -> None:
        arguments = [self._namespace.name, self._namespace.beginning]

        def both(number: int) -> list[str]:
            return [layout.slot_writes_key(number), self._beside(number)]

        def exchange() -> list[int]:
            return list(_EXCHANGE.in_slots(self._link, numbers, arguments, keys=both, again=True))

        if _NOT_BARRED in self._patiently(exchange):  # a master was lost with what it had not told its replica
            self._patiently(self._bar)
            self._patiently(exchange)

    def _bar(self) -> None:
        self._everywhere(_BAR, [self._namespace.name])

    def _lift(self) -> None:
        self._patiently(lambda: self._everywhere(_LIFT, []))
        self._patiently(lambda: self._client.delete(layout.EXCHANGE))

    def _without_mark(self) -> int:
        """Count the slots that have lost what was rebuilt, or are exchanged."""
        commands = [("HGET", self._beside(number), "rebuild") for number in range(SLOTS)]
        return sum(mark != self._namespace.name for mark in asked(lambda: self._link.ask(commands)))

    def _everywhere(
        self, script: SlotScript, arguments: Sequence[str], *, beside: bool = False, at_once: int = SLOTS // 8
    ) -> None:
        def keys(number: int) -> list[str]:
            return [self._beside(number) if beside else layout.slot_writes_key(number)]

        for _ in script.in_slots(self._link, range(SLOTS), arguments, keys=keys, at_once=at_once, again=True):
            pass

    def _beside(self, number: int) -> str:
        return self._namespace.key(layout.slot_writes_key(number))

    def _shares(self) -> set[frozenset[int]]:
        """Give which slots are together on one master; a replica that takes over takes them all."""
        self._client.forget()
        shares: dict[str, set[int]] = {}
        for number, name in self._client.slots().items():
            shares.setdefault(name, set()).add(number)
        return set(map(frozenset, shares.values()))

    def _slots_on_their_way(self) -> bool:
        """Whether a master says so of itself; none says it of others."""
        servers: list[Any] = [self._client.server(each) for each in self._client.masters()]
        return any(node["migrations"] for each in servers for node in each.execute_command("CLUSTER NODES").values())

    def _patiently(self, action: Callable[[], T]) -> T:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return action()
            except (redis.RedisError, OSError) as exc:
                self._link.close()
                if time.monotonic() > deadline:
                    raise CommandError(
                        f"Redis does not do it: {exc}; the exchange has begun, and no job can write: run `reweigh "
                        "replay` again, which goes on where this ended"
                    ) from exc
                time.sleep(_PAUSE_SECONDS)
