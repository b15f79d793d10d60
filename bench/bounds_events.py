"""What the benchmark of bounds sends, counted apart from the job."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from bench.synthetic import Record
from reccore import encoding, layout
from reccore.event_types import EventTypes
from reccore.scoring import format_score, score
from reccore.weights import default_weights

Event = tuple[int, str, tuple[str, ...]]
"""The event type's number, the user, and the tags."""
Rows = dict[str, list[int]]
"""Of one user: tag → events by type."""

COLLECTOR: Final = "collector"
_TAGS_AN_EVENT: Final = 32
_USERS_AT_ONCE: Final = 1_000
_TIME_MS: Final = 1_700_000_000_000
_SEED: Final = 11


def hot_user(count: int) -> Iterator[Event]:
    """``count`` events of one user, two of some 140 tags each."""
    return ((number % 3, "hot-user", (f"hot-{number % 40}", f"hot-{40 + number % 97}")) for number in range(count))


def many_users(count: int) -> Iterator[Event]:
    """One event each of ``count`` users."""
    return ((number % 3, f"once-{number}", (f"once-{number % 500}",)) for number in range(count))


def collector(count: int) -> Iterator[Event]:
    """``count`` distinct tags of one user: each once, some more often, in no order."""
    chance = random.Random(_SEED)
    tags = [f"tag-{number}" for number in range(count)]
    again = [tag for times in (3, 6, 12) for tag in chance.sample(tags, count // (100 * times // 3))]
    events = [*_by_many(tags), *_by_many(again), *_by_many(chance.sample(again, len(again) // 2))]
    chance.shuffle(events)
    return ((number % 3, COLLECTOR, some) for number, some in enumerate(events))


def various(name: str, count: int) -> Iterator[Event]:
    """``count`` events of 20,000 users, two of 597 tags each; another name gives other users."""
    chance = random.Random(_SEED)
    for _ in range(count):
        kind = chance.choices((0, 1, 2), (90, 7, 3))[0]
        user, tag = int(20_000 * chance.random() ** 2), chance.randrange(500)
        yield kind, f"{name}-{user}", (f"tag-{tag}", f"tag-{500 + tag % 97}")


def records(name: str, events: Iterable[Event]) -> Iterator[Record]:
    """Give events as records."""
    for number, (kind, user_id, tags) in enumerate(events):
        event = {
            "event_id": f"{name}-{number}",
            "user_id": user_id,
            "product_id": f"product-{number % 1000}",
            "timestamp": _TIME_MS + number,
            "tags": tags,
        }
        yield kind, user_id, orjson.dumps(event)


def counted(events: Iterable[Event]) -> dict[str, Rows]:
    """Count by user, tag and type."""
    users: dict[str, Rows] = {}
    for kind, user_id, tags in events:
        rows = users.setdefault(user_id, {})
        for tag in tags:
            rows.setdefault(tag, [0, 0, 0])[kind] += 1
    return users


def kept(rows: Rows, most: int) -> Rows:
    """The tags that a user keeps: those of the most events, the first names among equals."""
    ranked = sorted(rows.items(), key=lambda item: (-sum(item[1]), item[0]))
    return dict(ranked[:most])


def differences(client: Any, events: Iterable[Event], most_tags: int, *, users_apart: bool) -> tuple[int, int]:
    """Compare what Redis holds of these users with the recount: rows compared, and rows that differ.

    Args:
        client: Of Redis; gives text.
        events: All of the users', each once.
        most_tags: How many tags a user keeps.
        users_apart: Whether no user has two events, so that they needn't be in memory all at once.
    """
    left = iter(events)
    compared = wrong = 0
    while users := counted(islice(left, _USERS_AT_ONCE) if users_apart else left):
        waiting = iter(users.items())
        while some := dict(islice(waiting, _USERS_AT_ONCE)):
            wanted = {user_id: kept(rows, most_tags) for user_id, rows in some.items()}
            compared += sum(map(len, wanted.values()))
            wrong += _wrong(client, wanted)
    return compared, wrong


def _wrong(client: Any, users: Mapping[str, Rows]) -> int:
    values = default_weights(EventTypes.from_settings({})).values
    pipeline = client.pipeline(transaction=False)
    for user_id in users:
        pipeline.hgetall(layout.profile_key(user_id))
        pipeline.hgetall(layout.counts_key(user_id))
    answers = pipeline.execute()
    wrong = 0
    for rows, scores, counts in zip(users.values(), answers[::2], answers[1::2], strict=True):
        found = {tag: (scores.get(tag), encoding.counts_of_row(counts.get(tag, ""))) for tag in scores.keys() | counts}
        wanted = {tag: (format_score(score(row, values)), encoding.join_counts(row)) for tag, row in rows.items()}
        wrong += sum(found.get(tag) != wanted.get(tag) for tag in found.keys() | wanted.keys())
    return wrong


def _by_many(tags: list[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(tags), _TAGS_AN_EVENT):
        yield tuple(dict.fromkeys(tags[start : start + _TAGS_AN_EVENT]))
