"""The vectorised function that keeps each user's newest events in Redis.

Events are ordered by their own time, equal ones by their text, and what is beyond the cap is removed: so neither
repeats nor disorder change what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flink_jobs.redis_transaction import Command
from flink_jobs.writers import Column, RedisWriter, done
from reccore import layout
from reccore.tag_list import unescape_all

_USERS_A_TRANSACTION: Final = 100


class WriteRecentEvents(RedisWriter):
    """(user, number, time, ``type:partition:offset:product``, joined tags) → the user's recent events and arrivals."""

    def eval(self, user_ids: Column, numbers: Column, times_ms: Column, events: Column, tags: Column) -> Column:
        """Write one batch."""
        recent, arrivals = dict[str, list[str]](), dict[str, list[str]]()
        parts = events.tolist()
        columns = (user_ids.tolist(), numbers.tolist(), times_ms.tolist(), parts, unescape_all(parts), tags.tolist())
        for user_id, number, time_ms, part, event, joined in zip(*columns, strict=True):
            recent.setdefault(user_id, []).extend((str(time_ms), event))
            arrivals.setdefault(user_id, []).extend(layout.encode_arrival(number, part, joined or ""))
        for commands in transactions(recent, arrivals, self._settings.recent_events):
            self._store.commit(commands)
        return done(user_ids)


def transactions(recent: dict[str, list[str]], arrivals: dict[str, list[str]], most: int) -> Iterator[list[Command]]:
    """Give the commands of each transaction: by user ``time, event, …`` and ``slot, arrival, …``, ``most`` kept."""
    users = list(recent)
    for start in range(0, len(users), _USERS_A_TRANSACTION):
        commands: list[Command] = []
        for user_id in users[start : start + _USERS_A_TRANSACTION]:
            recent_key, arrivals_key = layout.recent_key(user_id), layout.arrivals_key(user_id)
            commands += (
                ("ZADD", recent_key, *recent[user_id]),
                ("ZREMRANGEBYRANK", recent_key, "0", str(-most - 1)),
                ("HSET", arrivals_key, *arrivals[user_id]),
                ("EXPIRE", arrivals_key, str(layout.ARRIVALS_SECONDS)),
            )
        yield commands
