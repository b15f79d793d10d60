"""What has to go from users who have more tags or products in Redis than may be (docs/adr/0005-a-cap-on-tags.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flink_jobs.redis_transaction import Command
from reccore import layout
from reccore.row_cap import RowCap

_ROWS_AT_ONCE: Final = 2_000
"""Rows that are read together: about a millisecond in which Redis serves nobody else."""


@dataclass(frozen=True, slots=True)
class CappedHash:
    """One kind of hash that each user has: its key, those of hashes that lose the same fields, who counts what left."""

    key: Callable[[str], str]
    beside: tuple[Callable[[str], str], ...]
    dropped: str


TAGS: Final = CappedHash(layout.counts_key, (layout.profile_key,), layout.DROPPED_TAGS)
ITEMS: Final = CappedHash(layout.items_key, (), layout.DROPPED_ITEMS)


def in_groups(user_ids: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Give crowded users in groups that may be read together."""
    together = max(1, _ROWS_AT_ONCE // max(1, most))
    for start in range(0, len(user_ids), together):
        yield user_ids[start : start + together]


def removals(
    which: CappedHash, user_ids: Sequence[str], rows: Sequence[Mapping[str, str]], cap: RowCap, now: float
) -> list[Command]:
    """Give the commands that leave each user the rows that are kept, and count those that the cap drops."""
    commands: list[Command] = []
    dropped = 0
    for user_id, of_user in zip(user_ids, rows, strict=True):
        expired, beyond = cap.leaving(of_user, now)
        dropped += len(beyond)
        if gone := expired + beyond:
            commands += [("HDEL", key(user_id), *gone) for key in (which.key, *which.beside)]
    if dropped:
        commands.append(("INCRBY", which.dropped, str(dropped)))
    return commands
