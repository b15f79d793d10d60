"""The Redis layout: every key, and how what stands under it is written.

Per user, all in one Redis Cluster slot:

``user:profile:<id>``            HASH tag → score as text (the public contract)
counts beside it                 HASH tag → ``v,c,p[,…];ms[;seconds]``: events by type in the order of the event types,
                                 the newest event's time (epoch ms), and with tag expiry on the second (epoch) at which
                                 the row was written
purchases beside it              SET of product ids

For everybody (``{stats}`` keeps them in one slot too):

``{stats}:products``             HASH product → ``[[v,c,p,…], newest event time, [tag, …]]``
``{stats}:tags``                 HASH tag → ``[[v,c,p,…], newest event time]``
``{stats}:totals``               HASH name → count (see :mod:`reccore.totals`)
``{stats}:dropped_tags``         integer: how often a tag left a user who had too many (:mod:`reccore.tag_cap`)
``{stats}:changes``              STREAM of ``kind`` (``products``, ``tags``) and ``rows`` (JSON, field → value), trimmed
``catalog:products``             HASH product → JSON ``{"name", "tags", "price", "category", "tags_since_ms"}``
``catalog:version``              integer, raised by each change of the catalogue
``weights:in_force``             HASH ``version``, ``document``, ``swept``: a batch of an older version is refused
``writer:epoch``                 the newest writer's epoch
``writer:fence``                 HASH writer → epoch of the one that may write in its place
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

PROFILE_PREFIX: Final = "user:profile:"
PRODUCT_STATISTICS: Final = "{stats}:products"
TAG_STATISTICS: Final = "{stats}:tags"
TOTALS: Final = "{stats}:totals"
DROPPED_TAGS: Final = "{stats}:dropped_tags"
CHANGES: Final = "{stats}:changes"
PRODUCTS_CHANGED: Final = "products"
TAGS_CHANGED: Final = "tags"
CATALOG: Final = "catalog:products"
CATALOG_VERSION: Final = "catalog:version"
WEIGHTS_IN_FORCE: Final = "weights:in_force"
WRITER_EPOCH: Final = "writer:epoch"
WRITER_FENCE: Final = "writer:fence"

_SLOTS: Final = 16_384


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
    if key.startswith("{" + PROFILE_PREFIX) and key.endswith("}:counts"):
        user_id = key[len(PROFILE_PREFIX) + 1 : -len("}:counts")]
    else:
        user_id = key.partition("}:counts:" + PROFILE_PREFIX)[2]
    return user_id if user_id and counts_key(user_id) == key else None


def purchased_key(user_id: str) -> str:
    """Key of the set of products that the user has bought, in the same slot as the profile."""
    return _beside(user_id, "purchased")


def _beside(user_id: str, what: str) -> str:
    profile = profile_key(user_id)
    if "{" not in user_id and "}" not in user_id:
        return f"{{{profile}}}:{what}"
    # A brace in the id changes what Redis Cluster hashes, so the slot is met with a tag made for it. It starts with a
    # digit, which no other key's tag does.
    return f"{{{_tag_of_slot()[slot(profile)]}}}:{what}:{profile}"


def slot(key: str) -> int:
    """Redis Cluster's slot of a key: CRC16 (XMODEM) of its hash tag, or of the whole key without one, mod 16384."""
    data = key.encode("utf-8")
    start = data.find(b"{")
    if start >= 0:
        end = data.find(b"}", start + 1)
        if end > start + 1:
            data = data[start + 1 : end]
    return binascii.crc_hqx(data, 0) % _SLOTS


@cache
def _tag_of_slot() -> dict[int, str]:
    tags: dict[int, str] = {}
    number = 0
    while len(tags) < _SLOTS:
        tags.setdefault(binascii.crc_hqx(str(number).encode(), 0) % _SLOTS, str(number))
        number += 1
    return tags


@dataclass(frozen=True, slots=True)
class TagCounts:
    """One row of a counts hash.

    Events by type, the newest one's time (epoch ms), and with tag expiry the second (epoch) at which it was written.
    """

    counts: tuple[int, ...]
    newest_ms: int
    written_at: int | None = None

    def expired(self, now: float, tag_expiry_seconds: int) -> bool:
        """Whether the tag has been without events for longer than its time to live (0: never)."""
        return tag_expiry_seconds > 0 and self.written_at is not None and now > self.written_at + tag_expiry_seconds


def encode_counts(counts: Iterable[int], newest_ms: int, written_at: int | None = None) -> str:
    """Write one row of a counts hash, e.g. ``12,3,1;1700000000000`` or ``12,3,1;1700000000000;1700000001``."""
    return encode_joined_counts(join_counts(counts), newest_ms, written_at)


def encode_joined_counts(joined: str, newest_ms: int, written_at: int | None = None) -> str:
    """Write one row of a counts hash whose counts are written already, by :func:`join_counts`."""
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
    counts, newest_ms, *written_at = row.split(";")
    return TagCounts(split_counts(counts), int(newest_ms), int(written_at[0]) if written_at else None)


def encode_product_statistics(counts: Iterable[int], newest_ms: int, tags: Sequence[str]) -> str:
    """Write a product's statistics, as the JSON that the stream of changes carries too."""
    return f"[[{join_counts(counts)}],{newest_ms},[{','.join(map(quote, tags))}]]"


def encode_tag_statistics(counts: Iterable[int], newest_ms: int) -> str:
    """Write everybody's statistics of a tag."""
    return f"[[{join_counts(counts)}],{newest_ms}]"


quote: Final = json.JSONEncoder().encode
"""Writes one string as JSON."""
