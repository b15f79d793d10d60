"""Batches into a Redis Cluster: each slot has beside its rows how far they go (docs/adr/0017-followed-on-a-cluster.md).

A batch reaches each slot by a script, with its offsets, unless the slot was written since it was read: then another
follower is at it. Records that a slot has had already are left out there. When all slots have theirs, witnesses on
every node are told the end of the batch. From the least that they tell topics are read on; and a node that loses rows
loses with them what its witnesses were told afterwards.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.commands import CoreCommands

from reccore.layout import slot_followed_key, slot_witness_key
from reccore.slots import SLOTS, slot
from redisaccess.cluster import ClusterClient
from redisaccess.exchange import Command, as_mapping
from redisaccess.links import ClusterLink
from redisaccess.slot_scripts import SlotScript
from reweigh.follow.table import Batch, Judged, Table, name_of, place_of
from reweigh.topic_source import Place

_SPREAD: Final = range(0, SLOTS, 256)
"""Slots that have a witness whoever holds them: every batch costs as many scripts besides its own."""
_STAMP: Final = "stamp"

_WRITE: Final = """
-- Carries out commands on keys of one slot and notes how far it is, unless that was written since it was read.
--
-- KEYS  how far the slot is, keys of the commands
-- ARGV  the stamp that was read or '', the new one, how many words of fields, the fields, then per command: how many
--       words, the words
local stamp = redis.call('HMGET', KEYS[1], 'stamp')[1] or ''
if stamp == ARGV[2] then return 1 end -- it was, before another node had to be given this script
if stamp ~= ARGV[1] then return 0 end
local place = 4 + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'stamp', ARGV[2], unpack(ARGV, 4, place - 1))
while place <= #ARGV do
  local last = place + tonumber(ARGV[place])
  redis.call(unpack(ARGV, place + 1, last))
  place = last + 1
end
return 1
"""


@dataclass(frozen=True, slots=True)
class _Slot:
    """How far a slot is, or a witness was told; ``stamp`` is another after each writing, and empty before the first."""

    stamp: str
    ends: Mapping[Place, int]


@dataclass(slots=True)
class _Due:
    """What a slot is to get."""

    ends: dict[Place, int] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)


class OnCluster:
    """A cluster. Two followers never undo each other's rows, and a node that lost its data gets them again."""

    def __init__(self, client: ClusterClient) -> None:
        self._client, self._link, self._script = client, ClusterLink(client), SlotScript(_WRITE)

    def positions(self) -> dict[Place, int]:
        """Give what every slot has had, and every node still has."""
        return _least(self._read(slot_witness_key, self._witnesses()))

    def write(self, batch: Batch, known: Mapping[Place, int]) -> bool:
        """Write what each slot lacks of it; when it gives False some may have been written."""
        touched = {slot(key) for table, judged in batch.tables for each in judged for key in table.keys(each.record)}
        slots = self._read(slot_followed_key, sorted(touched))
        # After them: a node that had lost its data before they were read has no witness now, and one that loses them
        # later has no stamp then.
        witnesses = self._read(slot_witness_key, self._witnesses())
        now = _least(witnesses)
        if any(now.get(place) != known.get(place) for place in batch.ends):
            return False
        if not self._write(slot_followed_key, self._due(batch, slots), slots):
            return False
        for table, _ in batch.tables:
            if table.version_key:  # also where others have written the rows: they may have died before this
                self._client.incr(table.version_key)
        told = {
            number: _Due({place: max(end, each.ends.get(place, 0)) for place, end in batch.ends.items()})
            for number, each in witnesses.items()
        }
        return self._write(slot_witness_key, told, witnesses)

    def _witnesses(self) -> list[int]:
        """Give some slots of every node."""
        owners = self._client.slots()
        found = [number for number in _SPREAD if number in owners]
        with_one = {owners[number] for number in found}
        for number, name in sorted(owners.items()):
            if name not in with_one:
                with_one.add(name)
                found.append(number)
        return found

    def _read(self, key: Callable[[int], str], numbers: Sequence[int]) -> dict[int, _Slot]:
        answers = self._link.ask([("HGETALL", key(number)) for number in numbers])
        return {number: _slot(as_mapping(each)) for number, each in zip(numbers, answers, strict=True)}

    def _due(self, batch: Batch, slots: Mapping[int, _Slot]) -> dict[int, _Due]:
        due: dict[int, _Due] = {}
        for table, judged in batch.tables:
            for fresh in _fresh(table, judged, slots):
                change = table.changes([each.record for _, each in fresh])
                change.read(self._client)
                recorder = _Recorder()
                change.queue(recorder)
                for number, each in fresh:
                    due.setdefault(number, _Due()).ends[each.place] = batch.ends[each.place]
                here = {number for number, _ in fresh}
                for command in recorder.commands:
                    if (number := slot(str(command[1]))) in here:
                        due[number].commands.append(command)
        return due

    def _write(self, key: Callable[[int], str], due: Mapping[int, _Due], slots: Mapping[int, _Slot]) -> bool:
        calls, stamp = [], secrets.token_hex(8)
        for number, each in due.items():
            keys = dict.fromkeys(str(command[1]) for command in each.commands)
            fields = [word for place, end in each.ends.items() for word in (name_of(place), end)]
            words = [word for command in each.commands for word in (len(command), *command)]
            arguments = [slots[number].stamp, stamp, len(fields), *fields, *words]
            calls.append(self._script.call([key(number), *keys], arguments))
        return all(self._script.carry_out(self._link, calls))


class _Recorder(CoreCommands):
    """Takes commands as a pipeline does, and sends none."""

    connection_pool: Any = None

    def __init__(self) -> None:
        self.commands: list[Any] = []

    def execute_command(self, *words: Any, **_: Any) -> _Recorder:
        self.commands.append(words)
        return self


def _fresh(table: Table, judged: Sequence[Judged], slots: Mapping[int, _Slot]) -> Iterator[list[tuple[int, Judged]]]:
    """Give the records that their slot has not had, with it; of a table whose records touch several, for each."""
    for keys in zip(*(table.keys(each.record) for each in judged), strict=True):
        found = []
        for each, key in zip(judged, keys, strict=True):
            number = slot(key)
            if each.offset >= slots[number].ends.get(each.place, 0):
                found.append((number, each))
        if found:
            yield found


def _slot(fields: Mapping[str, str]) -> _Slot:
    ends = {place_of(name): int(offset) for name, offset in fields.items() if name != _STAMP}
    return _Slot(fields.get(_STAMP, ""), ends)


def _least(slots: Mapping[int, _Slot]) -> dict[Place, int]:
    """Give how far all of them are: of the partitions that all of them name the least offset."""
    each_ends = [each.ends for each in slots.values()]
    if not each_ends:
        return {}
    named = set(each_ends[0]).intersection(*each_ends)
    return {place: min(ends[place] for ends in each_ends) for place in named}
