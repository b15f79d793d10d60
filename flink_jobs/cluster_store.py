"""The job's edge to a Redis Cluster (docs/adr/0013-redis-cluster.md).

A transaction of a cluster is of one slot, and users are in as many slots as there are. So each slot has a fence and the
weights in force of its own, a script compares both and writes what one slot gets, and the scripts of a batch are sent
to all nodes at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import redis
from redis.exceptions import AskError, ClusterError, TryAgainError

from flink_jobs.crowded_users import CappedHash
from flink_jobs.errors import FencedOffError
from flink_jobs.redis_store import DEFAULT_CAPS, RedisStore, WeightsStamp, epoch_floor, script_text
from flink_jobs.redis_transaction import Command
from reccore import layout
from reccore.namespaces import LIVE, Namespace
from reccore.row_cap import RowCap
from reccore.slots import SLOTS, slot
from redisaccess.cluster import ClusterClient
from redisaccess.links import ClusterLink
from redisaccess.slot_scripts import SlotScript

_WORDS_A_CALL: Final = 4_000
"""Lua hands on 8,000 words at most."""


class ClusterStore(RedisStore):
    """Writes what the job computed into a cluster: the live keys, or those of a namespace beside them.

    The catalogue, the weights in force and the epoch are one for all of them.
    """

    def __init__(
        self,
        client: ClusterClient,
        *,
        patience_seconds: float,
        caps: Mapping[CappedHash, RowCap] = DEFAULT_CAPS,
        namespace: Namespace = LIVE,
    ) -> None:
        self._key = namespace.key
        self._stored_as = {which: _within(namespace, which) for which in caps}
        super().__init__(client, patience_seconds=patience_seconds, caps=caps)
        self._writing_key = namespace.key(layout.WRITING)
        self._link = ClusterLink(client)
        self._tried: list[str] = []
        self._commit_slot, self._take_slot = _script("commit_slot.lua"), _script("take_slot.lua")
        self._next_epoch = _script("next_epoch.lua")
        self._statistics = _script("commit_statistics.lua")

    def _first_connection(self) -> None:
        """Have none: each node is given its own."""

    def disconnect(self) -> None:
        """Close the connections that writes go over."""
        self._link.close()

    def read_catalogue(self, product_ids: Sequence[str]) -> tuple[str, list[str | None]]:
        """Give the catalogue's version and the stored JSON of each product, None for unknown ones.

        The version is read first and raised last: rows that are newer than it are read again, older ones are never
        taken for newer.
        """

        def fetch() -> tuple[str, list[str | None]]:
            version = self._client.get(layout.CATALOG_VERSION) or ""
            return version, self._client.hmget(layout.CATALOG, list(product_ids)) if product_ids else []

        return self._patiently(fetch)

    def _writes_key(self, number: int) -> str:
        return self._key(layout.slot_writes_key(number))

    def _commit(self, commands: list[Command], stamp: WeightsStamp | None) -> WeightsStamp | list[Any]:
        """Carry out commands, those of each slot at once, unless a newer writer or newer weights come in between."""
        commands = [(name, self._key(key), *words) for name, key, *words in commands]
        of_slot: dict[int, list[int]] = {}
        for number, command in enumerate(commands):
            of_slot.setdefault(slot(command[1]), []).append(number)
        used = ("", "") if stamp is None else (str(stamp.version), stamp.document)
        calls, places = [], list[list[int]]()
        for place, numbers in of_slot.items():
            pieces = [(number, piece) for number in numbers for piece in _pieces(commands[number])]
            keys = dict.fromkeys(commands[number][1] for number in numbers)
            words = [word for _, piece in pieces for word in (str(len(piece)), *piece)]
            bound = [self._writes_key(place), *keys]
            calls.append(self._commit_slot.call(bound, [self._writer, self._epoch, *used, *words]))
            places.append([number for number, _ in pieces])
        answers: list[Any] = [None] * len(commands)
        newest: WeightsStamp | None = None
        for (outcome, *found), numbers in zip(self._commit_slot.carry_out(self._link, calls), places, strict=True):
            if outcome == "fenced":
                raise self._fenced_off()
            if outcome == "newer":
                version, document = found
                if newest is None or int(version) > newest.version:
                    newest = WeightsStamp(int(version), document)
                continue
            for number, answer in zip(numbers, found, strict=True):
                answers[number] = answer
        return answers if newest is None else newest

    def _drop(self, which: CappedHash, user_ids: Sequence[str]) -> None:
        """Take from crowded users what is beyond the cap, one after the other."""
        stored = self._stored_as[which]
        for user_id in user_ids:
            key = stored.key(user_id)
            try:
                connection = self._link.connection_of(key)
                self._drop_on(connection, self._writes_key(slot(key)), stored, [user_id])
            except (AskError, ClusterError, TryAgainError) as exc:
                raise redis.ConnectionError(f"the cluster is changing: {exc}") from exc

    def _carry_out_drop(self, connection: Any, commands: Sequence[Command], dropped: str) -> bool:
        """Do so without what counts it, which is in another slot; a failure in between leaves some uncounted."""
        done = super()._carry_out_drop(connection, [each for each in commands if each[1] != dropped], dropped)
        if done:
            for each in commands:
                if each[1] == dropped:
                    self._client.execute_command(*each)
        return done

    def _write_statistics(self, calls: list[tuple[list[str], list[str]]]) -> None:
        packed = [
            self._statistics.call(
                [self._writes_key(slot(keys[1])), *map(self._key, keys[1:])], [self._writer, self._epoch, *arguments]
            )
            for keys, arguments in calls
        ]
        if any(answer[0] == "fenced" for answer in self._statistics.carry_out(self._link, packed)):
            raise self._fenced_off()

    def _take(self) -> None:
        """Take the place in every slot, the first time or, if nobody newer has it, again.

        Whoever had it is refused in a slot from when it is taken there, and nothing is written before all of them are.
        """
        call = self._next_epoch.call([layout.WRITER_EPOCH], [epoch_floor(time.time())])
        (epoch,) = self._next_epoch.carry_out(self._link, [call])
        # Where a take broke off half-way, some slots have its epoch and the others the one before. So it is with this
        # one when a node, such as a replica that was just promoted, has to be given the script first.
        self._tried.append(epoch)
        ours = f",{','.join((self._epoch, *self._tried))}," if self._epoch else ""
        arguments = [*self._place, ours, epoch]
        slots = [slot(layout.TOTALS)] if self._only_statistics else range(SLOTS)
        answers = self._take_slot.in_slots(self._link, slots, arguments, keys=lambda number: [self._writes_key(number)])
        for answer in answers:
            if answer == "barred":
                raise FencedOffError("a rebuild is taking the place of what is live: `reweigh replay` goes on with it")
            if not answer:
                raise self._fenced_off()
        self._epoch, self._tried = epoch, []


def _script(name: str) -> SlotScript:
    return SlotScript(script_text(name))


def _within(namespace: Namespace, which: CappedHash) -> CappedHash:
    """Give the same hashes as a namespace has them."""

    def named(key: Callable[[str], str], user_id: str) -> str:
        return namespace.key(key(user_id))

    beside = tuple(partial(named, key) for key in which.beside)
    return replace(which, key=partial(named, which.key), beside=beside, dropped=namespace.key(which.dropped))


def _pieces(command: Command) -> Iterator[Command]:
    """Cut a command of many fields or members into several."""
    if len(command) <= _WORDS_A_CALL:
        yield command
        return
    for start in range(2, len(command), _WORDS_A_CALL):
        yield (*command[:2], *command[start : start + _WORDS_A_CALL])
