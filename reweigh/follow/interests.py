"""The topic `user_behavior`: a user's newest interest profile becomes a vector, whatever the order of the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from reccore.interests import InterestProfile, Interests, parse_profile
from reccore.layout import about_interests_key, interests_key


@dataclass(frozen=True, slots=True)
class InterestTable:
    """Profiles of the topic, into vectors of interests."""

    topic: str
    version_key: ClassVar[str | None] = None

    def judge(self, key: bytes | None, value: bytes | None, time_ms: int) -> InterestProfile:  # noqa: ARG002 (the value names the user)
        """Give the profile. Raises :class:`RejectedEvent`."""
        return parse_profile(value, record_time_ms=time_ms)

    def keys(self, judged: InterestProfile) -> Sequence[str]:
        """Give the key of the user's vector, with which what it was made of lies together."""
        return (interests_key(judged.user_id),)

    def changes(self, judged: Sequence[InterestProfile]) -> InterestChange:
        """Give them as one change."""
        return InterestChange(judged)


class InterestChange:
    """Some profiles, as what they change of the interests that are stored."""

    def __init__(self, profiles: Sequence[InterestProfile]) -> None:
        self._new: dict[str, Interests] = {}
        for each in profiles:
            interests = Interests.of(each)
            self._new[each.user_id] = max(interests, self._new.get(each.user_id, interests))
        self._newer: dict[str, Interests] = {}

    def read(self, client: Any) -> None:
        """Read what is stored, which stays where it is as new."""
        with client.pipeline(transaction=False) as pipeline:
            for user_id in self._new:
                pipeline.hgetall(interests_key(user_id))
                pipeline.hgetall(about_interests_key(user_id))
            answers = pipeline.execute()
        self._newer = {}
        for (user_id, interests), vector, about in zip(self._new.items(), answers[::2], answers[1::2], strict=True):
            stored = Interests.stored(vector, about)
            if stored is None or interests > stored:
                self._newer[user_id] = interests

    def queue(self, pipeline: Any) -> None:
        """Queue the commands."""
        for user_id, interests in self._newer.items():
            pipeline.delete(interests_key(user_id))
            if interests.vector:
                pipeline.hset(interests_key(user_id), mapping=dict(interests.vector))
            pipeline.hset(about_interests_key(user_id), mapping=interests.about())
