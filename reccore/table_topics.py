"""Topics that are tables: the newest record of a key is what holds, and a record without a value deletes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reccore.errors import SettingError
from reccore.event_types import EventTypes, is_topic_name

PRODUCT_CATALOG: Final = "product-catalog"


@dataclass(frozen=True, slots=True)
class TableTopics:
    """The names of these topics."""

    product_catalog: str = PRODUCT_CATALOG

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (self.product_catalog,)

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], event_types: EventTypes) -> TableTopics:
        """Read ``PRODUCT_CATALOG_TOPIC``. Raises :class:`SettingError` for a name that is no topic's, or is taken."""
        found = cls(settings.get("PRODUCT_CATALOG_TOPIC") or PRODUCT_CATALOG)
        taken = {*event_types.by_topic, event_types.dead_letter_topic}
        for topic in found.names:
            if not is_topic_name(topic) or topic in taken:
                raise SettingError("topic", topic, "each table has a Kafka topic of its own")
        return found
