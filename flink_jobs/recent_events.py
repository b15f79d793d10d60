"""The vectorised function that keeps each user's newest events in Redis.

Events are ordered by their own time, equal ones by their text, and what is beyond the cap is removed: so neither
repeats nor disorder change what is left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from flink_jobs.redis_transaction import Command
from flink_jobs.writers import Column, RedisWriter, done
from reccore import encoding, layout
from reccore.tag_list import unescape_all

_USERS_A_TRANSACTION: Final = 100


class WriteRecentEvents(RedisWriter):
    """(user, number, time, type, partition, offset, product, joined tags) → the user's recent events and arrivals.

    Tags are null where nobody can be waiting for the event any more; it is then no arrival.
    """

    def eval(
        self,
        user_ids: Column,
        numbers: Column,
        times_ms: Column,
        types: Column,
        partitions: Column,
        offsets: Column,
        products: Column,
        tags: Column,
    ) -> Column:
        """Write one batch."""
        parts = products.tolist()
        columns = (user_ids, numbers, times_ms, types, partitions, offsets)
        rows = zip(*(column.tolist() for column in columns), parts, unescape_all(parts), tags.tolist(), strict=True)
        most, users = self._settings.recent_events, dict[str, Written]()
        # This loop runs for every event.
        for user_id, number, time_ms, type_, partition, offset, part, product, joined in rows:
            of_user = users.get(user_id)
            if of_user is None:
                of_user = users[user_id] = Written([], [])
            place = f"{type_}:{partition}:{offset}:"
            of_user.recent.extend((str(time_ms), place + product))
            of_user.is_crowded |= number > most
            if joined is not None:
                of_user.arrivals.extend(encoding.encode_arrival(number, place + part, joined))
        began = time.monotonic()
        for commands in transactions(users, most):
            self._store.commit(commands)
        self._store.note_batch(len(parts), began)
        return done(user_ids)


@dataclass(slots=True)
class Written:
    """What one batch writes for one user: ``time, event, …`` and ``slot, arrival, …``, and whether some have to go."""

    recent: list[str]
    arrivals: list[str]
    is_crowded: bool = False


def transactions(users: Mapping[str, Written], most: int) -> Iterator[list[Command]]:
    """Give the commands of each transaction, which leave ``most`` recent events of each user."""
    names = list(users)
    for start in range(0, len(names), _USERS_A_TRANSACTION):
        commands: list[Command] = []
        for user_id in names[start : start + _USERS_A_TRANSACTION]:
            written, recent_key = users[user_id], layout.recent_key(user_id)
            commands.append(("ZADD", recent_key, *written.recent))
            if written.is_crowded:
                commands.append(("ZREMRANGEBYRANK", recent_key, "0", str(-most - 1)))
            if written.arrivals:
                arrivals_key = layout.arrivals_key(user_id)
                commands.append(("HSET", arrivals_key, *written.arrivals))
                commands.append(("EXPIRE", arrivals_key, str(layout.ARRIVALS_SECONDS)))
        yield commands
