"""What a batch of counts writes for users, as the commands of transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from flink_jobs.crowded_users import ITEMS, TAGS, CappedHash
from flink_jobs.redis_transaction import Command
from reccore import layout

_ROWS_A_TRANSACTION: Final = 500
"""Rows that one transaction writes: about a millisecond in which Redis serves nobody else."""


@dataclass(frozen=True, slots=True)
class UserRows:
    """What one batch writes for one user: ``tag, row, …``, ``tag, score, …``, products bought, ``product, row, …``."""

    user_id: str
    counts: list[str]
    scores: list[str]
    bought: list[str]
    items: list[str] = field(default_factory=list)


def transactions(
    users: Iterable[UserRows], first: Callable[[], list[Command]] = list
) -> Iterator[tuple[list[Command], list[tuple[CappedHash, str]]]]:
    """Give the commands of each transaction, ``first``'s before them, and the hashes whose sizes it answers last.

    ``first`` is asked when the users of a transaction are known, and once in any case.
    """
    commands, sizes, grown = list[Command](), list[Command](), list[tuple[CappedHash, str]]()
    rows = 0
    for user in users:
        if user.counts:
            counts_key = layout.counts_key(user.user_id)
            commands.append(("HSET", counts_key, *user.counts))
            commands.append(("HSET", layout.profile_key(user.user_id), *user.scores))
            sizes.append(("HLEN", counts_key))
            grown.append((TAGS, user.user_id))
        if user.items:
            items_key = layout.items_key(user.user_id)
            commands.append(("HSET", items_key, *user.items))
            sizes.append(("HLEN", items_key))
            grown.append((ITEMS, user.user_id))
        if user.bought:
            commands.append(("SADD", layout.purchased_key(user.user_id), *user.bought))
        rows += (len(user.scores) + len(user.items)) // 2 + len(user.bought)
        if rows >= _ROWS_A_TRANSACTION:
            yield first() + commands + sizes, grown
            commands, sizes, grown, rows = [], [], [], 0
    if commands := first() + commands:
        yield commands + sizes, grown
