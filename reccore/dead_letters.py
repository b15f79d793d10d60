"""What becomes of a record that breaks the contract: why, and the message that keeps it whole."""

from __future__ import annotations

import base64
import json
from enum import StrEnum
from typing import Final

LARGEST_VALUE_KEPT: Final = 2_900_000
"""Bytes of a record's value that fit into a message of 4 MiB as base64, with room for the rest."""


class Reason(StrEnum):
    """Why a record was refused; the reasons are counted by these names."""

    NULL_VALUE = "null_value"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    INVALID_EVENT_ID = "invalid_event_id"
    INVALID_USER_ID = "invalid_user_id"
    INVALID_PRODUCT_ID = "invalid_product_id"
    INVALID_EVENT_TYPE = "invalid_event_type"
    WRONG_TOPIC = "wrong_topic"
    INVALID_TIMESTAMP = "invalid_timestamp"
    INVALID_TAGS = "invalid_tags"
    INVALID_SESSION_ID = "invalid_session_id"
    INVALID_METADATA = "invalid_metadata"
    INVALID_RATING = "invalid_rating"
    INVALID_ITEMS = "invalid_items"
    INVALID_WEIGHTS_VERSION = "invalid_weights_version"
    INVALID_RECOMMENDATIONS = "invalid_recommendations"

    @property
    def field(self) -> str:
        """The member that is wrong, "" where it is the record as a whole."""
        return _FIELDS.get(self, "")


_FIELDS: Final = {
    Reason.INVALID_EVENT_ID: "event_id",
    Reason.INVALID_USER_ID: "user_id",
    Reason.INVALID_PRODUCT_ID: "product_id",
    Reason.INVALID_EVENT_TYPE: "event_type",
    Reason.WRONG_TOPIC: "event_type",
    Reason.INVALID_TIMESTAMP: "timestamp",
    Reason.INVALID_TAGS: "tags",
    Reason.INVALID_SESSION_ID: "session_id",
    Reason.INVALID_METADATA: "metadata",
    Reason.INVALID_RATING: "rating",
    Reason.INVALID_ITEMS: "items",
    Reason.INVALID_WEIGHTS_VERSION: "weights_version",
    Reason.INVALID_RECOMMENDATIONS: "products",
}


def dead_letter_key(topic: str, partition: int, offset: int) -> str:
    """The message key, which names the record: a reader that sees a key twice has seen one dead letter."""
    return f"{topic}:{partition}:{offset}"


def dead_letter(
    reason: str, detail: str, *, topic: str, partition: int, offset: int, timestamp: int, raw: bytes | None
) -> str:
    """Build the message for the dead-letter topic, as JSON text.

    ``timestamp`` is the record's Kafka timestamp in epoch milliseconds; ``raw`` the exact bytes of its value, which are
    left out, and said to be, when the message would be larger than the topic takes.
    """
    if raw is not None and len(raw) > LARGEST_VALUE_KEPT:
        detail, raw = f"{detail} (the value, {len(raw)} bytes, is too large to be kept here)", None
    return json.dumps(
        {
            "reason": reason,
            "detail": detail,
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "timestamp": timestamp,
            "raw": None if raw is None else base64.b64encode(raw).decode("ascii"),
        }
    )
