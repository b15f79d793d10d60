"""Topics that are followed into Redis: two tables, of whose keys the newest record holds, and two logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Final

from reccore.errors import SettingError
from reccore.event_types import EventTypes, is_topic_name

PRODUCT_CATALOG: Final = "product-catalog"
RATINGS: Final = "ratings"
USER_BEHAVIOR: Final = "user_behavior"
RECOMMENDATIONS: Final = "recommendations"
SETTINGS: Final = ("PRODUCT_CATALOG_TOPIC", "RATINGS_TOPIC", "USER_BEHAVIOR_TOPIC", "RECOMMENDATIONS_TOPIC")
"""In the order of the fields below."""


@dataclass(frozen=True, slots=True)
class FollowedTopics:
    """The names of these topics.

    Products by id and lists of recommendations by user id, compacted; ratings, and interest profiles, by user id.
    """

    product_catalog: str = PRODUCT_CATALOG
    ratings: str = RATINGS
    user_behavior: str = USER_BEHAVIOR
    recommendations: str = RECOMMENDATIONS

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return astuple(self)

    @property
    def compacted(self) -> tuple[str, ...]:
        """Those that are tables."""
        return self.product_catalog, self.recommendations

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], event_types: EventTypes) -> FollowedTopics:
        """Read :data:`SETTINGS`. Raises :class:`SettingError` for a name that is no topic's, or is taken."""
        default = cls()
        found = cls(*(settings.get(key) or name for key, name in zip(SETTINGS, default.names, strict=True)))
        taken = {*event_types.by_topic, event_types.dead_letter_topic}
        for key, topic in zip(SETTINGS, found.names, strict=True):
            if not is_topic_name(topic) or topic in taken:
                raise SettingError(key, topic, "a Kafka topic of its own")
            taken.add(topic)
        return found
