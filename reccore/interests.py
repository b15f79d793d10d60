"""Interest profiles: what a user's last events say of tags, as a message, and the vector that is made of it.

The message holds the items, each with the weight of its event, and for each tag their sum. The vector is that of unit
length (Euclidean) in the same direction, so the inner product of two of them is the cosine of their angle; tags whose
weights are negative keep their sign.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent
from reccore.events import LONGEST_TAG, MOST_TAGS, decoded, identifier, object_of, time_of
from reccore.scoring import format_score, score
from reccore.weights import Weights

MOST_ITEMS: Final = 50
"""The newest events that a profile is made of."""
_MOST_SUMS: Final = MOST_ITEMS * MOST_TAGS
_ABOUT: Final = ("timestamp_ms", "items", "weights_version")


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One of a user's events: the product, the event type, when it happened (epoch ms), and the product's tags."""

    product_id: str
    event_type: str
    time_ms: int
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InterestProfile:
    """What a message says: the sum of weights by tag, of so many items, as of a time (epoch ms)."""

    user_id: str
    time_ms: int
    items: int
    tags: Mapping[str, float]
    weights_version: int


@dataclass(frozen=True, slots=True, order=True)
class Interests:
    """A user's interests as they are stored; the greatest of several counts: the newest, then by its contents.

    ``vector`` holds tags in ascending order, each with its component as the text that is stored.
    """

    time_ms: int
    items: int
    weights_version: int
    vector: tuple[tuple[str, str], ...]

    def about(self) -> dict[str, str]:
        """Give the hash that stands beside the vector."""
        return dict(zip(_ABOUT, map(str, (self.time_ms, self.items, self.weights_version)), strict=True))

    @classmethod
    def of(cls, profile: InterestProfile) -> Interests:
        """Make them of a profile."""
        vector = unit_vector(profile.tags)
        texts = tuple((tag, format_score(vector[tag])) for tag in sorted(vector))
        return cls(profile.time_ms, profile.items, profile.weights_version, texts)

    @classmethod
    def stored(cls, vector: Mapping[str, str], about: Mapping[str, str]) -> Interests | None:
        """Read the two hashes, None where there are none; ``KeyError`` or ``ValueError`` when they are others'."""
        if not about:
            return None
        time_ms, items, weights_version = (int(about[name]) for name in _ABOUT)
        return cls(time_ms, items, weights_version, tuple(sorted(vector.items())))


def profile_message(
    user_id: str, time_ms: int, items: Sequence[HistoryItem], weights: Weights, weights_version: int
) -> dict[str, Any]:
    """Give the message for some of a user's events, the newest first, under these weights."""
    weight_of, places = weights.as_dict(), {name: place for place, name in enumerate(weights.names)}
    counts: dict[str, list[int]] = {}
    for item in items:
        for tag in item.tags:
            counts.setdefault(tag, [0] * len(places))[places[item.event_type]] += 1
    return {
        "user_id": user_id,
        "timestamp": time_ms,
        "items": [
            {
                "item_id": item.product_id,
                "action": item.event_type,
                "weight": weight_of[item.event_type],
                "timestamp": item.time_ms,
                "tags": list(item.tags),
            }
            for item in items
        ],
        "tags": {tag: score(each, weights.values) for tag, each in counts.items()},
        "weights_version": weights_version,
    }


def parse_profile(raw: bytes | None, *, record_time_ms: int | None) -> InterestProfile:
    """Read a profile from the bytes of a Kafka record; ids and times follow the rules of events.

    ``record_time_ms`` is the time that stands in for an absent timestamp. Raises :class:`RejectedEvent`.
    """
    fields = object_of(*decoded(raw))
    return InterestProfile(
        user_id=identifier(fields, ("user_id", "userId"), Reason.INVALID_USER_ID),
        time_ms=time_of(fields, record_time_ms),
        items=_number_of_items(fields.get("items")),
        tags=_sums(fields.get("tags")),
        weights_version=_version(fields.get("weights_version")),
    )


def unit_vector(sums: Mapping[str, float]) -> dict[str, float]:
    """Give the vector of length 1 in this direction; tags of weight 0 are left out, so there may be none."""
    largest = max(map(abs, sums.values()), default=0.0)
    if not largest:
        return {}
    scaled = {tag: value / largest for tag, value in sums.items()}  # or the squares might leave the doubles
    length = math.hypot(*scaled.values())
    return {tag: value / length for tag, value in scaled.items() if value}


def _number_of_items(value: object) -> int:
    if not isinstance(value, list) or len(value) > MOST_ITEMS:
        raise RejectedEvent.member(Reason.INVALID_ITEMS, "items", value, f"an array of at most {MOST_ITEMS} items")
    for place, item in enumerate(value):
        if not isinstance(item, dict):
            raise RejectedEvent.member(Reason.INVALID_ITEMS, f"items[{place}]", item, "an object")
        identifier(item, ("item_id", "product_id"), Reason.INVALID_ITEMS)
    return len(value)


def _sums(value: object) -> Mapping[str, float]:
    if not isinstance(value, dict) or len(value) > _MOST_SUMS:
        raise RejectedEvent.member(Reason.INVALID_TAGS, "tags", value, f"an object of at most {_MOST_SUMS} tags")
    for tag, weight in value.items():
        if not 1 <= len(tag) <= LONGEST_TAG:
            raise RejectedEvent.member(Reason.INVALID_TAGS, "tags", tag, f"a tag of 1 to {LONGEST_TAG} characters")
        if not _is_finite(weight):
            raise RejectedEvent.member(Reason.INVALID_TAGS, "tags", weight, "a finite number")
    return {tag: float(weight) for tag, weight in value.items()}


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the doubles
        return False


def _version(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise RejectedEvent.member(Reason.INVALID_WEIGHTS_VERSION, "weights_version", value, "an integer >= 0")
    return value
