"""The Redis layout: every key, and how what stands under it is written.

Per user, all in one Redis Cluster slot:

``user:profile:<id>``            HASH tag → score as text (the public contract)
counts beside it                 HASH tag → ``v,c,p[,…];ms[;[seconds][;number]]``: events by type in the order of the
                                 event types, the newest event's time (epoch ms), with tag expiry on the second (epoch)
                                 at which the row was written, and the highest number among the user's events in it
items beside it                  HASH product → ``v,c,p[,…];ms;[seconds];[number];[sum:n[,sum:n…]]``: as a row of
                                 counts; sum (thousandths) and number of each of ``METADATA_NUMBERS``
purchases beside it              SET of product ids
recent events beside it          ZSET by event time (epoch ms): ``type:partition:offset:product``, the type as its
                                 position among the event types
ratings beside it                HASH product → ``rating;time (epoch ms)`` (:mod:`reccore.ratings`)
arrivals beside it               HASH number mod 200 → number, event as above, tags (:func:`encode_arrival`): the newest
                                 to arrive, of the last minute

``user_profile:<id>``            HASH tag → component of the vector of interests as text (:mod:`reccore.interests`)
about it, beside it              HASH ``timestamp_ms``, ``items``, ``weights_version``

For everybody (``{stats}`` keeps them in one slot too):

``{stats}:products``             HASH product → ``[[v,c,p,…], newest event time, [tag, …]]``
``{stats}:tags``                 HASH tag → ``[[v,c,p,…], newest event time]``
``{stats}:totals``               HASH name → count (see :mod:`reccore.totals`)
``{stats}:dropped_tags``         integer: how often a tag left a user who had too many (:mod:`reccore.row_cap`)
``{stats}:dropped_items``        integer: how often a product left a user who had too many
``{stats}:changes``              STREAM of ``kind`` (``products``, ``tags``) and ``rows`` (JSON, field → value), trimmed
``catalog:products``             HASH product → JSON ``{"name", "tags", "price", "category", "tags_since_ms"}``
``catalog:details``              HASH product → JSON ``{"description", "attributes"}``, of products that have either
``catalog:removed``              HASH product → since when it is removed (epoch ms)
``catalog:version``              integer, raised by each change of the catalogue
``model:current``                HASH of the model that is applied: ``version``, ``trained_at``, ``blobs`` (JSON, name →
                                 number of chunks), and for people ``products``, ``parameters``, ``training``
``model:version``                the highest number that a model was given
``model:blobs``                  HASH version → JSON, name → number of chunks: what is stored or being stored
``model:<version>:<name>:<n>``   one chunk of one blob of a model (:mod:`recsvc.models.encoding`)
``weights:in_force``             HASH ``version``, ``document``, ``swept``: a batch of an older version is refused
``writer:epoch``                 the newest writer's epoch
``writer:fence``                 HASH writer → epoch of the one that may write in its place
``follow:offsets``               HASH ``topic:partition`` → offset after the last record that was carried into Redis
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from reccore.slots import slot, tag_of_slot
from reccore.tag_list import SEPARATOR, split_tags, unescape

PROFILE_PREFIX: Final = "user:profile:"
INTERESTS_PREFIX: Final = "user_profile:"
PRODUCT_STATISTICS: Final = "{stats}:products"
TAG_STATISTICS: Final = "{stats}:tags"
TOTALS: Final = "{stats}:totals"
DROPPED_TAGS: Final = "{stats}:dropped_tags"
DROPPED_ITEMS: Final = "{stats}:dropped_items"
CHANGES: Final = "{stats}:changes"
PRODUCTS_CHANGED: Final = "products"
TAGS_CHANGED: Final = "tags"
CATALOG: Final = "catalog:products"
CATALOG_DETAILS: Final = "catalog:details"
CATALOG_REMOVED: Final = "catalog:removed"
CATALOG_VERSION: Final = "catalog:version"
FOLLOWED: Final = "follow:offsets"
MODEL_CURRENT: Final = "model:current"
MODEL_VERSION: Final = "model:version"
MODEL_BLOBS: Final = "model:blobs"
WEIGHTS_IN_FORCE: Final = "weights:in_force"
WRITER_EPOCH: Final = "writer:epoch"
WRITER_FENCE: Final = "writer:fence"

MOST_ARRIVALS: Final = 200
AWAITED_SECONDS: Final = 10
"""How old a record may be for its event to be an arrival: nobody waits longer for one to be in an answer."""
ARRIVALS_SECONDS: Final = 60
"""How long a user's arrivals are kept after the newest: they tell of events that are on their way into an answer."""

_BESIDE: Final = re.compile(
    r"\{user[:_]profile:(?P<plain>[^{}]+)\}:(?P<what>[a-z]+)"
    r"|\{\d+\}:(?P<what_too>[a-z]+):user[:_]profile:(?P<braces>.+)",
    re.DOTALL,
)


def profile_key(user_id: str) -> str:
    """Key of the user's public hash, tag → score."""
    return PROFILE_PREFIX + user_id


def user_of_profile_key(key: str) -> str:
    """Give the user id of a profile key; the inverse of :func:`profile_key`."""
    return key.removeprefix(PROFILE_PREFIX)


def counts_key(user_id: str) -> str:
    """Key of the user's counts, in the same Redis Cluster slot as the profile."""
    return _beside(user_id, "counts")


def user_of_counts_key(key: str) -> str | None:
    """Give the user id of a counts key, None for any other key; the inverse of :func:`counts_key`."""
    return _user_of(key, "counts")


def items_key(user_id: str) -> str:
    """Key of the user's counts by product, in the same slot as the profile."""
    return _beside(user_id, "items")


def user_of_items_key(key: str) -> str | None:
    """Give the user id of an items key, None for any other key; the inverse of :func:`items_key`."""
    return _user_of(key, "items")


def purchased_key(user_id: str) -> str:
    """Key of the set of products that the user has bought, in the same slot as the profile."""
    return _beside(user_id, "purchased")


def recent_key(user_id: str) -> str:
    """Key of the user's newest events by their own time, in the same slot as the profile."""
    return _beside(user_id, "recent")


def arrivals_key(user_id: str) -> str:
    """Key of the user's newest events by their arrival, in the same slot as the profile."""
    return _beside(user_id, "arrivals")


def ratings_key(user_id: str) -> str:
    """Key of the user's ratings, in the same slot as the profile."""
    return _beside(user_id, "ratings")


def interests_key(user_id: str) -> str:
    """Key of the user's vector of interests."""
    return INTERESTS_PREFIX + user_id


def about_interests_key(user_id: str) -> str:
    """Key of what the vector was made of, in the same slot as the vector."""
    return _beside_key(interests_key(user_id), "about")


def is_followed_key(key: str) -> bool:
    """Whether a key is of somebody's ratings or interests, which follow from topics of their own."""
    return key.startswith(INTERESTS_PREFIX) or _taken_apart(key)[1] in ("ratings", "about")


def user_of_key(key: str) -> str | None:
    """Give the user id of a key that holds a user's counts, scores or newest events, None for any other key."""
    if key.startswith(PROFILE_PREFIX):
        return user_of_profile_key(key) or None
    user_id, what = _taken_apart(key)
    return user_id if what in ("counts", "recent") else None


def is_arrivals_key(key: str) -> bool:
    """Whether a key is of somebody's arrivals, which are of passing interest and not part of what was counted."""
    return _taken_apart(key)[1] == "arrivals"


def _taken_apart(key: str) -> tuple[str, str]:
    """Give the user id of a key beside another, and what it holds; empty for any other key."""
    found = _BESIDE.fullmatch(key)
    if found is None:
        return "", ""
    return found["plain"] or found["braces"], found["what"] or found["what_too"]


def _user_of(key: str, what: str) -> str | None:
    user_id, found = _taken_apart(key)
    return user_id if found == what and _beside(user_id, what) == key else None


def model_blob_key(version: int | str, name: str, chunk: int | str) -> str:
    """Key of one chunk of one blob of a model."""
    return f"model:{version}:{name}:{chunk}"


def is_model_key(key: str) -> bool:
    """Whether a key is of trained models, which don't follow from the events at once."""
    return key.startswith("model:")


def _beside(user_id: str, what: str) -> str:
    return _beside_key(profile_key(user_id), what)


def _beside_key(key: str, what: str) -> str:
    if "{" not in key and "}" not in key:
        return f"{{{key}}}:{what}"
    # A brace in the id changes what Redis Cluster hashes, so the slot is met with a tag made for it. It starts with a
    # digit, which no other key's tag does.
    return f"{{{tag_of_slot()[slot(key)]}}}:{what}:{key}"


@dataclass(frozen=True, slots=True)
class TagCounts:
    """One row of a counts hash.

    Events by type, the newest one's time (epoch ms), with tag expiry the second (epoch) at which it was written, and
    the highest number among the user's events that it counts (0: they are not numbered).
    """

    counts: tuple[int, ...]
    newest_ms: int
    written_at: int | None = None
    number: int = 0

    def expired(self, now: float, tag_expiry_seconds: int) -> bool:
        """Whether the tag has been without events for longer than its time to live (0: never)."""
        return tag_expiry_seconds > 0 and self.written_at is not None and now > self.written_at + tag_expiry_seconds


def encode_counts(counts: Iterable[int], newest_ms: int, written_at: int | None = None, number: int = 0) -> str:
    """Write one row of a counts hash, e.g. ``12,3,1;1700000000000;;16`` or ``12,3,1;1700000000000;1700000001``."""
    return encode_joined_counts(join_counts(counts), newest_ms, written_at, number)


def encode_joined_counts(joined: str, newest_ms: int, written_at: int | None = None, number: int = 0) -> str:
    """Write one row of a counts hash whose counts are written already, by :func:`join_counts`."""
    if number:
        return f"{joined};{newest_ms};{'' if written_at is None else written_at};{number}"
    return f"{joined};{newest_ms}" if written_at is None else f"{joined};{newest_ms};{written_at}"


def join_counts(counts: Iterable[int]) -> str:
    """Write the first part of a row, the counts alone: what scores depend on."""
    return ",".join(map(str, counts))


def split_counts(joined: str) -> tuple[int, ...]:
    """Read what :func:`join_counts` wrote; ``ValueError`` when it is nothing of the kind."""
    return tuple(map(int, joined.split(",")))


def counts_of_row(row: str) -> str:
    """Give the counts of a row as they are written, to remember scores by."""
    return row.partition(";")[0]


def newest_of_rows(rows: Iterable[str]) -> int | None:
    """Give the newest event time (epoch ms) of some rows, None without rows."""
    return max([int(row.split(";", 2)[1]) for row in rows], default=None)


def decode_counts(row: str) -> TagCounts:
    """Read one row of a counts hash; ``ValueError`` when it is none."""
    counts, newest_ms, written_at, number, *_ = *row.split(";"), "", ""
    return TagCounts(
        split_counts(counts), int(newest_ms), int(written_at) if written_at else None, int(number) if number else 0
    )


def stamped(row: str, written_at: int) -> str:
    """Give a row of counts or items with the second at which it was written."""
    parts = row.split(";")
    return ";".join((*parts[:2], str(written_at), *parts[3:]))


def compared_part(row: str) -> str:
    """Give what of a row of counts or items follows from the events alone: counts, newest time, and sums."""
    parts = row.split(";")
    return ";".join((*parts[:2], *parts[4:]))


def number_of_row(row: str) -> int:
    """Give the highest number among the events that a row counts, 0 where they are not numbered."""
    parts = row.split(";", 4)
    return int(parts[3] or 0) if len(parts) > 3 else 0


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """One row of an items hash: what a row of counts holds, and sum and number of each of some numbers of the events.

    Sums are in thousandths; all of them are 0 where no event carried any of these numbers.
    """

    counts: TagCounts
    sums: tuple[tuple[int, int], ...] = ()


def encode_item(row: str, sums: Sequence[tuple[int, int]]) -> str:
    """Write one row of an items hash, given as a row of counts, and the sum and number of each metadata number."""
    if not any(count for _, count in sums):
        return row
    return f"{row}{';' * (4 - row.count(';'))}{','.join(f'{total}:{count}' for total, count in sums)}"


def decode_item(row: str) -> ItemCounts:
    """Read one row of an items hash; ``ValueError`` when it is none."""
    pairs = (pair.split(":") for pair in ";".join(row.split(";")[4:]).split(",") if pair)
    return ItemCounts(decode_counts(row), tuple((int(total), int(count)) for total, count in pairs))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A user's ``number``-th event: ``type:partition:offset:product``, and its tags."""

    number: int
    event: str
    tags: tuple[str, ...]


def encode_arrival(number: int, event: str, joined_tags: str) -> tuple[str, str]:
    """Write one field of an arrivals hash and its value; event and tags are escaped (:mod:`reccore.tag_list`)."""
    return str(number % MOST_ARRIVALS), f"{number}{SEPARATOR}{event}{SEPARATOR}{joined_tags}"


def decode_arrival(value: str) -> Arrival:
    """Read what :func:`encode_arrival` wrote."""
    number, event, joined_tags = value.split(SEPARATOR, 2)
    return Arrival(int(number), unescape(event), tuple(split_tags(joined_tags)) if joined_tags else ())


def encode_product_statistics(counts: Iterable[int], newest_ms: int, tags: Sequence[str]) -> str:
    """Write a product's statistics, as the JSON that the stream of changes carries too."""
    return f"[[{join_counts(counts)}],{newest_ms},[{','.join(map(quote, tags))}]]"


def encode_tag_statistics(counts: Iterable[int], newest_ms: int) -> str:
    """Write everybody's statistics of a tag."""
    return f"[[{join_counts(counts)}],{newest_ms}]"


quote: Final = json.JSONEncoder().encode
"""Writes one string as JSON."""
