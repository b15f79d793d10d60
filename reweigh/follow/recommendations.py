"""The topic `recommendations`: a user's list as it is from now on; a record without a value removes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent, shown
from reccore.events import LONGEST_ID
from reccore.layout import recommendations_key
from reccore.recommendation_lists import RecommendationList, parse_recommendations


@dataclass(frozen=True, slots=True)
class RecommendationTable:
    """Lists of the topic, into Redis."""

    topic: str
    version_key: ClassVar[str | None] = None

    def judge(self, key: bytes | None, value: bytes | None, time_ms: int) -> RecommendationList | str:
        """Give the list, or the id of the user whose list goes. Raises :class:`RejectedEvent`."""
        if value is not None:
            return parse_recommendations(value, record_time_ms=time_ms)
        user_id = (key or b"").decode("utf-8", "replace")
        if not 1 <= len(user_id) <= LONGEST_ID or "\ufffd" in user_id:
            allowed = f"a record without a value names a user by its key, 1 to {LONGEST_ID} characters in UTF-8"
            raise RejectedEvent(Reason.INVALID_USER_ID, f"key: {shown(key)}, {allowed}")
        return user_id

    def keys(self, judged: RecommendationList | str) -> Sequence[str]:
        """Give the key of the user's list."""
        return (recommendations_key(judged if isinstance(judged, str) else judged.user_id),)

    def changes(self, judged: Sequence[RecommendationList | str]) -> ListChange:
        """Give them as one change."""
        return ListChange(judged)


class ListChange:
    """Some lists, of which the last of each user counts: one user's records come in their order."""

    def __init__(self, judged: Sequence[RecommendationList | str]) -> None:
        self._last = {each if isinstance(each, str) else each.user_id: each for each in judged}

    def read(self, client: Any) -> None:
        """Read nothing: what is stored does not matter."""

    def queue(self, pipeline: Any) -> None:
        """Queue the commands."""
        for user_id, each in self._last.items():  # one at a time: on a cluster each is in a slot of its own
            if isinstance(each, str):
                pipeline.delete(recommendations_key(user_id))
            else:
                pipeline.mset({recommendations_key(user_id): each.message()})
