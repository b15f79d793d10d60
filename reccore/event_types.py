"""Which kinds of event exist, in which order their counts are kept, and which topic carries each.

The three built-in types always come first and in one order; further types follow as configured. A stored row of counts
is aligned with that order, so adding a type at the end leaves every stored row readable, and any other change of the
list needs a rebuild from the log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reccore.errors import SettingError

VIEW: Final = "view"
ADD_TO_CART: Final = "add_to_cart"
PURCHASE: Final = "purchase"
BUILT_IN: Final = (VIEW, ADD_TO_CART, PURCHASE)

ALIASES: Final[Mapping[str, str]] = {
    "click": VIEW,
    "cart": ADD_TO_CART,
    "addtocart": ADD_TO_CART,
    "transaction": PURCHASE,
}
"""Other names that producers use for the built-in types."""

DEAD_LETTER_TOPIC: Final = "dead-letter-events"

_TOPIC_SETTINGS: Final = {
    VIEW: ("VIEW_TOPIC", "view-events"),
    ADD_TO_CART: ("ADD_TO_CART_TOPIC", "add-to-cart-events"),
    PURCHASE: ("PURCHASE_TOPIC", "purchase-events"),
}
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class EventType:
    """One kind of event and the topic that carries it."""

    name: str
    topic: str

    @property
    def may_be_negative(self) -> bool:
        """Whether a weight below 0 makes sense: only for types that the shop has added itself."""
        return self.name not in BUILT_IN


@dataclass(frozen=True, slots=True)
class EventTypes:
    """All configured types; ``types[i]`` belongs to the i-th number of every stored row of counts."""

    types: tuple[EventType, ...]
    dead_letter_topic: str = DEAD_LETTER_TOPIC

    @property
    def names(self) -> tuple[str, ...]:
        """Type names in the order of the stored counts."""
        return tuple(each.name for each in self.types)

    @property
    def topics(self) -> dict[str, str]:
        """Topic by type name."""
        return {each.name: each.topic for each in self.types}

    @property
    def by_topic(self) -> dict[str, str]:
        """Type name by topic."""
        return {each.topic: each.name for each in self.types}

    def canonical(self, name: str) -> str | None:
        """Give the type that ``name`` means, an alias included, or None."""
        if name in self.names:
            return name
        return ALIASES.get(name)

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> EventTypes:
        """Read the topics and the further types from ``settings`` (environment variables or the like).

        ``EXTRA_EVENT_TYPES`` is ``name:topic[,name:topic…]``. Raises :class:`SettingError`.
        """
        types = [EventType(name, settings.get(key) or topic) for name, (key, topic) in _TOPIC_SETTINGS.items()]
        types += _further_types(settings.get("EXTRA_EVENT_TYPES") or "")
        dead_letter_topic = settings.get("DEAD_LETTER_TOPIC") or DEAD_LETTER_TOPIC
        seen: set[str] = set()
        for topic in [*(each.topic for each in types), dead_letter_topic]:
            if not is_topic_name(topic) or topic in seen:
                raise SettingError("topic", topic, "each event type names a Kafka topic of its own")
            seen.add(topic)
        return cls(tuple(types), dead_letter_topic)


def is_topic_name(text: str) -> bool:
    """Whether Kafka takes this as the name of a topic."""
    return _TOPIC.fullmatch(text) is not None


def _further_types(text: str) -> list[EventType]:
    allowed = "name:topic pairs, comma separated; a name is a lower-case identifier that is no built-in type or alias"
    further: list[EventType] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, topic = part.partition(":")
        taken = {*BUILT_IN, *ALIASES, *(each.name for each in further)}
        if not _NAME.fullmatch(name) or name in taken or not topic:
            raise SettingError("EXTRA_EVENT_TYPES", part, allowed)
        further.append(EventType(name, topic))
    return further
