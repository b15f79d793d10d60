"""What a rating is, which of several counts, and how many of a user are kept: by rules that no order changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent
from reccore.events import decoded, event_id_of, identifier, object_of, time_of
from reccore.scoring import format_score

LOWEST: Final = 0.5
HIGHEST: Final = 5.0
MOST_RATINGS: Final = 1_000
"""Of a user: those with the newest times."""
_SEPARATOR: Final = ";"


@dataclass(frozen=True, slots=True)
class Rating:
    """A user's rating of a product, from 0.5 to 5, and the time (epoch ms) from which it holds."""

    event_id: str | None
    user_id: str
    product_id: str
    rating: float
    time_ms: int


@dataclass(frozen=True, slots=True, order=True)
class Rated:
    """What is stored of a rating; the greater of two is the one that counts: the newer, of one time the higher."""

    time_ms: int
    rating: float


def parse_rating(raw: bytes | None, *, record_time_ms: int | None) -> Rating:
    """Read one rating from the bytes of a Kafka record or an HTTP body; ids and times follow the rules of events.

    ``record_time_ms`` is the time that stands in for an absent timestamp. Raises :class:`RejectedEvent`.
    """
    fields = object_of(*decoded(raw))
    return Rating(
        event_id=event_id_of(fields),
        user_id=identifier(fields, ("user_id", "userId"), Reason.INVALID_USER_ID),
        product_id=identifier(fields, ("product_id", "item_id", "movieId"), Reason.INVALID_PRODUCT_ID),
        rating=_rating(fields.get("rating")),
        time_ms=time_of(fields, record_time_ms),
    )


def newest_ratings(ratings: Mapping[str, Rated]) -> dict[str, Rated]:
    """Give the ratings by product that a user keeps: the newest, of one time those whose product sorts last.

    What goes can't come back but by a newer rating, and what stays only ever becomes newer; so it does not matter in
    which order ratings come, nor how often.
    """
    newest = sorted(ratings, key=lambda product: (ratings[product].time_ms, product), reverse=True)
    return {product: ratings[product] for product in newest[:MOST_RATINGS]}


def encode_rated(rated: Rated) -> str:
    """Write a stored rating, e.g. ``4.5;1700000000000``."""
    return f"{format_score(rated.rating)}{_SEPARATOR}{rated.time_ms}"


def decode_rated(text: str) -> Rated:
    """Read what :func:`encode_rated` wrote; ``ValueError`` when it is none."""
    rating, _, time_ms = text.partition(_SEPARATOR)
    return Rated(int(time_ms), float(rating))


def newest_rated(texts: Iterable[str]) -> int | None:
    """Give the newest time (epoch ms) of stored ratings, None without any."""
    return max((int(text.partition(_SEPARATOR)[2]) for text in texts), default=None)


def _rating(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not LOWEST <= value <= HIGHEST:
        allowed = f"a number from {format_score(LOWEST)} to {format_score(HIGHEST)}"
        raise RejectedEvent.member(Reason.INVALID_RATING, "rating", value, allowed)
    return float(value)
