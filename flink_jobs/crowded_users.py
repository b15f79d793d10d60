"""What has to go from users who have more tags or products in Redis than may be (docs/adr/0005-a-cap-on-tags.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from flink_jobs.redis_transaction import Command
from reccore import layout
from reccore.row_cap import Rank, RowCap

_ROWS_AT_ONCE: Final = 2_000
"""Rows that are read together: about a millisecond in which Redis serves nobody else."""


@dataclass(frozen=True, slots=True)
class CappedHash:
    """One kind of hash that each user has: its key, those of hashes that lose the same fields, who counts what left.

    The same kind under other names, as in a namespace of a cluster, is equal to it.
    """

    kind: str
    key: Callable[[str], str] = field(compare=False)
    beside: tuple[Callable[[str], str], ...] = field(compare=False)
    dropped: str = field(compare=False)


TAGS: Final = CappedHash("tags", layout.counts_key, (layout.profile_key,), layout.DROPPED_TAGS)
ITEMS: Final = CappedHash("items", layout.items_key, (), layout.DROPPED_ITEMS)


def crowded(
    sizes: Iterable[tuple[tuple[CappedHash, str], int]], caps: Mapping[CappedHash, RowCap]
) -> Iterator[tuple[CappedHash, Sequence[str]]]:
    """Give the users who have more than may be, in groups that may be read together.

    Args:
        sizes: A hash of a user, and how many rows it has.
        caps: How many each may have.
    """
    found: dict[CappedHash, list[str]] = {}
    for (which, user_id), size in sizes:
        if size > caps[which].most:
            found.setdefault(which, []).append(user_id)
    for which, user_ids in found.items():
        together = max(1, _ROWS_AT_ONCE // max(1, caps[which].most))
        for start in range(0, len(user_ids), together):
            yield which, user_ids[start : start + together]


def removals(
    which: CappedHash,
    of_users: Iterable[tuple[str, Mapping[str, str]]],
    cap: RowCap,
    now: float,
    remember: Callable[[CappedHash, str, Rank], None],
) -> list[Command]:
    """Give the commands that leave each user the rows that are kept, and count those that the cap drops.

    Where a user's last kept row stands is told to ``remember``.
    """
    commands: list[Command] = []
    dropped = 0
    for user_id, rows in of_users:
        expired, beyond, last_kept = cap.leaving(rows, now)
        dropped += len(beyond)
        if last_kept is not None:
            remember(which, user_id, last_kept)
        if gone := expired + beyond:
            commands += [("HDEL", key(user_id), *gone) for key in (which.key, *which.beside)]
    if dropped:
        commands.append(("INCRBY", which.dropped, str(dropped)))
    return commands
