"""Comparing the whole of one Redis database with another: profiles, and the counts beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reccore import encoding, layout

_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many users and scores were compared, and how many scores or counts differ or are missing on one side."""

    users: int
    scores: int
    differences: int
    examples: tuple[str, ...]


def compare(found: Any, wanted: Any) -> Comparison:
    """Compare ``user:profile:*`` and the counts beside it in two databases, whole, in both directions."""
    users = sorted(_users(found) | _users(wanted))
    scores, examples, differences = 0, [], 0
    for chunk in _chunks(users):
        for user, ours, theirs in zip(chunk, _read(found, chunk), _read(wanted, chunk), strict=True):
            scores += len(theirs[0])
            for kind, one, other in zip(("score", "counts"), ours, theirs, strict=True):
                if one == other:
                    continue
                wrong = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
                differences += len(wrong)
                examples += [f"{kind} of {user} {name}: {one.get(name)}, {other.get(name)}" for name in wrong[:2]]
    return Comparison(len(users), scores, differences, tuple(examples[:5]))


def _users(client: Any) -> set[str]:
    keys = client.scan_iter(layout.PROFILE_PREFIX + "*", count=_AT_ONCE)
    return {layout.user_of_profile_key(key) for key in keys}


def _read(client: Any, users: tuple[str, ...]) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    pipeline = client.pipeline(transaction=False)
    for user in users:
        pipeline.hgetall(layout.profile_key(user))
        pipeline.hgetall(layout.counts_key(user))
    answers = pipeline.execute()
    for scores, rows in zip(answers[::2], answers[1::2], strict=True):
        yield scores, {tag: encoding.counts_of_row(row) for tag, row in rows.items()}


def _chunks(users: list[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(users), _AT_ONCE):
        yield tuple(users[start : start + _AT_ONCE])
