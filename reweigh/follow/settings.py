"""What `reweigh follow` can be told, besides where the servers are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reccore.event_types import EventTypes
from reccore.followed_topics import SETTINGS as TOPICS
from reccore.followed_topics import FollowedTopics
from reweigh.metrics_page import metrics_port

SETTINGS: Final = (*TOPICS, "FOLLOW_METRICS_PORT", "FOLLOW_METRICS_HOST")


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """The topics, and where metrics are served (port 0: nowhere)."""

    topics: FollowedTopics
    metrics_port: int = 0
    metrics_host: str = "127.0.0.1"


def follow_settings(values: Mapping[str, str], event_types: EventTypes) -> FollowSettings:
    """Read them. Raises :class:`SettingError` for a wrong value."""
    return FollowSettings(
        FollowedTopics.from_settings(values, event_types),
        metrics_port(values, "FOLLOW_METRICS_PORT"),
        values.get("FOLLOW_METRICS_HOST") or "127.0.0.1",
    )
