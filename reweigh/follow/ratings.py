"""The topic `ratings`: of a user's ratings of a product the newest counts, whatever the order of the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from reccore.layout import ratings_key
from reccore.ratings import MOST_RATINGS, Rated, Rating, decode_rated, encode_rated, newest_ratings, parse_rating


@dataclass(frozen=True, slots=True)
class RatingTable:
    """Ratings of the topic, beside the profiles of their users."""

    topic: str
    version_key: ClassVar[str | None] = None

    def judge(self, key: bytes | None, value: bytes | None, time_ms: int) -> Rating:  # noqa: ARG002 (the value names the user)
        """Give the rating. Raises :class:`RejectedEvent`."""
        return parse_rating(value, record_time_ms=time_ms)

    def keys(self, judged: Rating) -> Sequence[str]:
        """Give the key of the user's ratings."""
        return (ratings_key(judged.user_id),)

    def changes(self, judged: Sequence[Rating]) -> RatingChange:
        """Give them as one change."""
        return RatingChange(judged)


class RatingChange:
    """Some ratings, as what they change of those that are stored."""

    def __init__(self, ratings: Sequence[Rating]) -> None:
        self._new: dict[str, dict[str, Rated]] = {}
        for each in ratings:
            of_user = self._new.setdefault(each.user_id, {})
            rated = Rated(each.time_ms, each.rating)
            of_user[each.product_id] = max(rated, of_user.get(each.product_id, rated))
        self._rows: dict[str, dict[str, Rated]] = {}
        self._gone: dict[str, list[str]] = {}

    def read(self, client: Any) -> None:
        """Read what is stored of these products; of a user who may have too many ratings, all."""
        with client.pipeline(transaction=False) as pipeline:
            for user_id, ratings in self._new.items():
                pipeline.hmget(ratings_key(user_id), list(ratings))
                pipeline.hlen(ratings_key(user_id))
            answers = pipeline.execute()
        self._rows, self._gone, crowded = {}, {}, []
        for (user_id, ratings), stored, number in zip(self._new.items(), answers[::2], answers[1::2], strict=True):
            self._rows[user_id] = {
                product: rated
                for (product, rated), text in zip(ratings.items(), stored, strict=True)
                if text is None or rated > decode_rated(text)
            }
            if number + len(ratings) > MOST_RATINGS:
                crowded.append(user_id)
        self._make_room(client, crowded)

    def queue(self, pipeline: Any) -> None:
        """Queue the commands."""
        for user_id, ratings in self._rows.items():
            if ratings:
                rows = {product: encode_rated(rated) for product, rated in ratings.items()}
                pipeline.hset(ratings_key(user_id), mapping=rows)
            if gone := self._gone.get(user_id):
                pipeline.hdel(ratings_key(user_id), *gone)

    def _make_room(self, client: Any, users: Sequence[str]) -> None:
        """Leave users those ratings that they keep."""
        with client.pipeline(transaction=False) as pipeline:
            for user_id in users:
                pipeline.hgetall(ratings_key(user_id))
            answers = pipeline.execute()
        for user_id, texts in zip(users, answers, strict=True):
            stored = {product: decode_rated(text) for product, text in texts.items()}
            kept = newest_ratings(stored | self._rows[user_id])
            self._gone[user_id] = [product for product in stored if product not in kept]
            self._rows[user_id] = {product: each for product, each in self._rows[user_id].items() if product in kept}
