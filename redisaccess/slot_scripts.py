"""Scripts that are carried out in many slots of a cluster, one call a slot, in one packet to each node."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from redis.exceptions import NoScriptError

from reccore.layout import slot_writes_key
from redisaccess.exchange import Command
from redisaccess.links import ClusterLink

_SLOTS_A_PACKET: Final = 2_048


class SlotScript:
    """One script. It may be carried out twice in a slot, so it has to come to the same."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], arguments: Sequence[str | int]) -> Command:
        """Give the command that carries it out on keys of one slot."""
        return ("EVALSHA", self._sha, str(len(keys)), *keys, *arguments)

    def carry_out(self, link: ClusterLink, calls: Sequence[Command], *, again: bool = False) -> list[Any]:
        """Send calls and give their answers in order; a node that lacks the script is given it.

        With ``again`` they are sent once more after a slot has moved or a connection was closed.
        """
        ask = link.ask if again else link.ask_once
        try:
            return ask(calls)
        except NoScriptError:  # the other nodes may have carried out theirs
            link.ask_every_master(("SCRIPT", "LOAD", self._text))
            return ask(calls)

    def in_slots(
        self,
        link: ClusterLink,
        slots: Sequence[int],
        arguments: Sequence[str],
        *,
        keys: Callable[[int], Sequence[str]] = lambda number: [slot_writes_key(number)],
        at_once: int = _SLOTS_A_PACKET,
        again: bool = False,
    ) -> Iterator[Any]:
        """Carry it out on ``keys`` of each slot, some thousand at once; gives the answers.

        By default they are what binds the writes of the slot.
        """
        for start in range(0, len(slots), at_once):
            some = slots[start : start + at_once]
            yield from self.carry_out(link, [self.call(keys(each), arguments) for each in some], again=again)
