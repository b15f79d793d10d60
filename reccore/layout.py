"""The Redis layout: every key, and how what stands under it is written.

Per user, all in one Redis Cluster slot:

``user:profile:<id>``            HASH tag → score as text (the public contract)
counts beside it                 HASH tag → ``v,c,p[,…][@seconds]``: events by type in the order of the event types, and
                                 with tag expiry on the second (epoch) at which the row was written; field ``""`` → the
                                 user's newest event time (epoch ms)
purchases beside it              SET of product ids

For everybody (``{stats}`` keeps them in one slot too):

``{stats}:products``             HASH product → ``[[v,c,p,…], newest event time, [tag, …]]``
``{stats}:tags``                 HASH tag → ``[[v,c,p,…], newest event time]``
``{stats}:totals``               HASH name → count (see :mod:`reccore.totals`)
``{stats}:changes``              STREAM of ``kind`` (``products``, ``tags``) and ``rows`` (JSON, field → value), trimmed
``catalog:products``             HASH product → JSON ``{"name", "tags", "price", "category"}``
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
CHANGES: Final = "{stats}:changes"
PRODUCTS_CHANGED: Final = "products"
TAGS_CHANGED: Final = "tags"
CATALOG: Final = "catalog:products"
CATALOG_VERSION: Final = "catalog:version"
WEIGHTS_IN_FORCE: Final = "weights:in_force"
WRITER_EPOCH: Final = "writer:epoch"
WRITER_FENCE: Final = "writer:fence"
META_FIELD: Final = ""
"""The one field of a counts hash that is no tag: a tag has at least one character."""

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
    """One row of a counts hash. ``written_at`` is in epoch seconds, None when tags don't expire."""

    counts: tuple[int, ...]
    written_at: int | None = None

    def expired(self, now: float, tag_expiry_seconds: int) -> bool:
        """Whether the tag has been without events for longer than its time to live (0: never)."""
        return tag_expiry_seconds > 0 and self.written_at is not None and now > self.written_at + tag_expiry_seconds


@dataclass(frozen=True, slots=True)
class UserCounts:
    """Everything of a counts hash: rows by tag, and the user's newest event time (epoch ms, None without events)."""

    tags: dict[str, TagCounts]
    as_of_ms: int | None


def encode_counts(counts: Iterable[int], written_at: int | None = None) -> str:
    """Write one row of a counts hash, e.g. ``12,3,1`` or ``12,3,1@1700000000``."""
    row = ",".join(map(str, counts))
    return row if written_at is None else f"{row}@{written_at}"


def decode_counts(row: str) -> TagCounts:
    """Read one row of a counts hash; ``ValueError`` when it is none."""
    counts, _, written_at = row.partition("@")
    return TagCounts(tuple(map(int, counts.split(","))), int(written_at) if written_at else None)


def decode_user_counts(fields: dict[str, str]) -> UserCounts:
    """Read a whole counts hash as ``HGETALL`` gives it (an absent key: the empty dict)."""
    as_of = fields.get(META_FIELD)
    tags = {tag: decode_counts(row) for tag, row in fields.items() if tag != META_FIELD}
    return UserCounts(tags, int(as_of) if as_of else None)


def encode_product_statistics(counts: Iterable[int], newest_ms: int, tags: Sequence[str]) -> str:
    """Write a product's statistics, as the JSON that the stream of changes carries too."""
    return json.dumps([list(counts), newest_ms, list(tags)], separators=(",", ":"))


def encode_tag_statistics(counts: Iterable[int], newest_ms: int) -> str:
    """Write everybody's statistics of a tag."""
    return json.dumps([list(counts), newest_ms], separators=(",", ":"))
