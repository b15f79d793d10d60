"""How each topic is to be configured, for whoever creates them."""

from __future__ import annotations

from typing import Final

from reccore.event_types import EventTypes
from reccore.followed_topics import FollowedTopics

DEAD_LETTER_BYTES: Final = 4 * 1024 * 1024
"""A dead letter holds its record as base64, so it is longer than the record."""


def topic_configurations(event_types: EventTypes, followed: FollowedTopics) -> dict[str, dict[str, str]]:
    """Give the configuration of each topic by name. Records are kept for ever, of tables the newest of each key."""
    topics = {name: {"retention.ms": "-1"} for name in (*event_types.by_topic, *followed.names)}
    topics |= {name: {"cleanup.policy": "compact"} for name in followed.compacted}
    topics[event_types.dead_letter_topic] = {"retention.ms": "-1", "max.message.bytes": str(DEAD_LETTER_BYTES)}
    return topics
