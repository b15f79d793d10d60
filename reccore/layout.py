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
arrivals beside it               HASH number mod 200 → number, event as above, and tags (encoded there): the newest
                                 to arrive, of the last minute

``user_profile:<id>``            HASH tag → component of the vector of interests as text (:mod:`reccore.interests`)
about it, beside it              HASH ``timestamp_ms``, ``items``, ``weights_version``

For everybody (``{stats}`` keeps them in one slot too):

``{stats}:products``             HASH product → ``[[v,c,p,…], newest event time, [tag, …]]``
``{stats}:tags``                 HASH tag → ``[[v,c,p,…], newest event time]``
``{stats}:totals``               HASH name → count (see :mod:`reccore.totals`)
``{stats}:dropped_tags``         integer: how often a tag left a user who had too many (:mod:`reccore.row_cap`)
``{stats}:dropped_items``        integer: how often a product left a user who had too many
``{stats}:writing``              HASH writer → how its writing goes (:mod:`reccore.write_figures`)
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
``canary:outcome``               HASH ``outcome``, ``seconds``, ``at_ms``: what the canary last measured
``verify:outcome``               HASH ``differences``, ``records``, ``finished_ms``: what `reweigh verify` last found
``weights:in_force``             HASH ``version``, ``document``, ``swept``: a batch of an older version is refused
``writer:epoch``                 the newest writer's epoch
``writer:fence``                 HASH writer → epoch of the one that may write in its place
``{<tag>}:writes``               on a cluster, for each slot: HASH ``version``, ``document`` as in ``weights:in_force``,
                                 and writer → epoch as in ``writer:fence``, which bind the writes to keys of the slot;
                                 ``exchange`` bars it, beside the live keys ``rebuild`` says that nothing is lost
``rebuild:exchange``             on a cluster HASH ``namespace``, ``savepoint``: what is taking the live keys' place
``rebuilt:<name>:{<tag>}:<key>`` on a cluster: what is rebuilt beside the live ``<key>`` (:mod:`reccore.namespaces`)
``recommendations:<id>``         STRING: the user's list that was computed ahead, the JSON of its message
``publishing:recommendations``   HASH ``server``, ``master``, ``cursor``, ``published``, ``began``: how far one is that
                                 was not finished
``follow:offsets``               HASH ``topic:partition`` → offset after the last record that was carried into Redis
``{<tag>}:followed``             on a cluster instead of it, for each slot that followed topics have reached: HASH
                                 ``topic:partition`` as there, and ``stamp``, which changes with each writing
``{<tag>}:witness``              on a cluster, for some slots of each node: HASH likewise, of what all slots have
"""

from __future__ import annotations

import re
from typing import Final

from reccore.slots import slot, tag_of_slot

PROFILE_PREFIX: Final = "user:profile:"
INTERESTS_PREFIX: Final = "user_profile:"
RECOMMENDATIONS_PREFIX: Final = "recommendations:"
PRODUCT_STATISTICS: Final = "{stats}:products"
TAG_STATISTICS: Final = "{stats}:tags"
TOTALS: Final = "{stats}:totals"
DROPPED_TAGS: Final = "{stats}:dropped_tags"
DROPPED_ITEMS: Final = "{stats}:dropped_items"
CHANGES: Final = "{stats}:changes"
WRITING: Final = "{stats}:writing"
PRODUCTS_CHANGED: Final = "products"
TAGS_CHANGED: Final = "tags"
CATALOG: Final = "catalog:products"
CATALOG_DETAILS: Final = "catalog:details"
CATALOG_REMOVED: Final = "catalog:removed"
CATALOG_VERSION: Final = "catalog:version"
PUBLISHING: Final = "publishing:recommendations"
FOLLOWED: Final = "follow:offsets"
MODEL_CURRENT: Final = "model:current"
MODEL_VERSION: Final = "model:version"
MODEL_BLOBS: Final = "model:blobs"
WEIGHTS_IN_FORCE: Final = "weights:in_force"
EXCHANGE: Final = "rebuild:exchange"
VERIFY_OUTCOME: Final = "verify:outcome"
CANARY_OUTCOME: Final = "canary:outcome"
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
_OF_A_SLOT: Final = re.compile(r"\{\d+\}:[a-z]+")


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


def recommendations_key(user_id: str) -> str:
    """Key of the user's list of recommendations that was computed ahead."""
    return RECOMMENDATIONS_PREFIX + user_id


def is_followed_key(key: str) -> bool:
    """Whether a key is of somebody's ratings, interests or list, which follow from topics of their own."""
    return key.startswith((INTERESTS_PREFIX, RECOMMENDATIONS_PREFIX)) or _taken_apart(key)[1] in ("ratings", "about")


def user_of_key(key: str) -> str | None:
    """Give the user id of a key that holds a user's counts, scores or newest events, None for any other key."""
    if key.startswith(PROFILE_PREFIX):
        return user_of_profile_key(key) or None
    user_id, what = _taken_apart(key)
    return user_id if what in ("counts", "recent") else None


def user_with_history(key: str) -> str | None:
    """Give the user id of a key that holds what recommendations are made of, None for any other key."""
    user_id, what = _taken_apart(key)
    return user_id if what in ("counts", "items", "purchased", "recent", "ratings") else None


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


def is_slot_key(key: str) -> bool:
    """Whether a key is of a slot itself, of no user."""
    return _OF_A_SLOT.fullmatch(key) is not None


def slot_writes_key(number: int) -> str:
    """Key of what binds writes to the keys of one slot of a cluster."""
    return f"{{{tag_of_slot()[number]}}}:writes"


def slot_followed_key(number: int) -> str:
    """Key of how far followed topics were carried into one slot of a cluster."""
    return f"{{{tag_of_slot()[number]}}}:followed"


def slot_witness_key(number: int) -> str:
    """Key of how far followed topics were carried into all slots of a cluster, as one slot of each node was told."""
    return f"{{{tag_of_slot()[number]}}}:witness"


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
