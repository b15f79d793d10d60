"""What has to go from users who have more tags in Redis than may be (docs/adr/0005-a-cap-on-tags.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from flink_jobs.redis_transaction import Command
from reccore import layout
from reccore.tag_cap import TagCap

_ROWS_AT_ONCE: Final = 2_000
"""Rows that are read together: about a millisecond in which Redis serves nobody else."""


def in_groups(user_ids: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Give crowded users in groups that may be read together."""
    together = max(1, _ROWS_AT_ONCE // most)
    for start in range(0, len(user_ids), together):
        yield user_ids[start : start + together]


def removals(user_ids: Sequence[str], rows: Sequence[Mapping[str, str]], cap: TagCap, now: float) -> list[Command]:
    """Give the commands that leave each user the tags that are kept, and count those that the cap drops."""
    commands: list[Command] = []
    dropped = 0
    for user_id, of_user in zip(user_ids, rows, strict=True):
        expired, beyond = cap.leaving(of_user, now)
        dropped += len(beyond)
        if gone := expired + beyond:
            commands.append(("HDEL", layout.counts_key(user_id), *gone))
            commands.append(("HDEL", layout.profile_key(user_id), *gone))
    if dropped:
        commands.append(("INCRBY", layout.DROPPED_TAGS, str(dropped)))
    return commands
