"""Users written straight into Redis, in the layout of :mod:`reccore.layout`, for what needs many of them at rest."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from reccore import encoding, layout
from reccore.scoring import format_score, score
from recsvc.remembered import ByCounts

WEIGHTS = (1.0, 3.0, 5.0)
_AT_ONCE = 500
_NEWEST_MS = 1_700_000_000_000


def user_id(number: int) -> str:
    """Give the id of a user by number."""
    return f"user-{number}"


def counts_of(number: int, tags: int, all_tags: int) -> dict[str, tuple[int, int, int]]:
    """Give a user's counts by tag: ``tags`` of ``all_tags`` tags, many views, few purchases."""
    draw = random.Random(number)
    return {
        f"tag-{tag}": (draw.randint(1, 40), draw.randint(0, 6), draw.randint(0, 3))
        for tag in draw.sample(range(all_tags), tags)
    }


def write_profiles(client: Any, numbers: Sequence[int], tags: int, all_tags: int) -> None:
    """Write the public hash, tag → score, of each user."""
    for chunk in _chunks(numbers):
        pipeline = client.pipeline(transaction=False)
        for number in chunk:
            counts = counts_of(number, tags, all_tags)
            scores: Mapping[str, str] = {tag: format_score(score(each, WEIGHTS)) for tag, each in counts.items()}
            pipeline.hset(layout.profile_key(user_id(number)), mapping=scores)
        pipeline.execute()


def write_counts(client: Any, numbers: Sequence[int], tags: int, all_tags: int) -> None:
    """Write the counts of each user."""
    for chunk in _chunks(numbers):
        pipeline = client.pipeline(transaction=False)
        for number in chunk:
            counts = counts_of(number, tags, all_tags)
            rows = {tag: encoding.encode_counts(each, _NEWEST_MS + number) for tag, each in counts.items()}
            pipeline.hset(layout.counts_key(user_id(number)), mapping=rows)
        pipeline.execute()


def write_recent(client: Any, numbers: Sequence[int], events: Sequence[int], products: int) -> None:
    """Write recent events of each user, so many as there are numbers of ``events``, as the job writes them."""
    for chunk in _chunks(numbers):
        pipeline = client.pipeline(transaction=False)
        for number in chunk:
            draw = random.Random(number)
            members = {
                f"0:{number % 8}:{number * 1_000 + event}:product-{draw.randrange(products)}": _NEWEST_MS + event
                for event in events
            }
            pipeline.zadd(layout.recent_key(user_id(number)), members)
        pipeline.execute()


def wrong_scores(client: Any, numbers: Sequence[int], weights: Sequence[float]) -> tuple[int, int]:
    """Compare stored scores with counts · weights: how many were compared, and how many differ."""
    compared = wrong = 0
    texts = ByCounts(lambda counts: format_score(score(counts, weights)))
    for chunk in _chunks(numbers):
        pipeline = client.pipeline(transaction=False)
        for number in chunk:
            pipeline.hgetall(layout.profile_key(user_id(number)))
            pipeline.hgetall(layout.counts_key(user_id(number)))
        answers = pipeline.execute()
        for scores, rows in zip(answers[::2], answers[1::2], strict=True):
            compared += len(rows)
            wrong += sum(scores.get(tag) != text for tag, text in texts.of_all(rows).items())
            wrong += len(scores.keys() - rows.keys())
    return compared, wrong


def _chunks(numbers: Sequence[int]) -> Iterator[list[int]]:
    left = iter(numbers)
    while chunk := list(islice(left, _AT_ONCE)):
        yield chunk
