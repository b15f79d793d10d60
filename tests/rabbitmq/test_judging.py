"""What becomes of one message, and which settings there are."""

from __future__ import annotations

import json

import pytest

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent, SettingError
from reccore.event_types import EventTypes
from reccore.events import LARGEST_EVENT
from recsvc.ingest import Message
from reweigh.rabbitmq.judging import judged, rejection_headers
from reweigh.rabbitmq.settings import RabbitSettings, rabbit_settings

TYPES = EventTypes.from_settings({"EXTRA_EVENT_TYPES": "wishlist:wishlist-events"})
EVENT = {"user_id": "ü1", "item_id": 7, "action": "click", "process_time": 1_700_000_000}


def judge(event: object, *, identity: str = "m-1", timestamp: int | None = None) -> Message:
    """Judge an object, or bytes as they are."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return judged(body, TYPES, identity=identity, timestamp=timestamp, now_ms=1_800_000_000_000)


@pytest.mark.parametrize(
    ("action", "topic"),
    [
        ("click", "view-events"),
        ("cart", "add-to-cart-events"),
        ("transaction", "purchase-events"),
        ("wishlist", "wishlist-events"),
    ],
)
def test_an_event_goes_to_the_topic_of_its_type(action: str, topic: str) -> None:
    """By whichever of its names, keyed by the user."""
    message = judge({**EVENT, "action": action})
    assert (message.topic, message.key) == (topic, "ü1".encode())


def test_an_event_with_id_and_time_is_left_as_it_is() -> None:
    """To the byte: what the sender wrote counts, whatever the message around it says."""
    body = json.dumps({**EVENT, "event_id": "e-1"}, indent=2).encode()
    assert judge(body, timestamp=5).value == body


def test_what_a_message_says_stands_for_what_the_event_does_not() -> None:
    """The same message judged again is the same record."""
    event = {"user_id": 1, "product_id": "p", "event_type": "purchase", "event_id": None}
    message = judge(event, timestamp=1_700_000_001)
    assert json.loads(message.value) == {**event, "event_id": "m-1", "timestamp": 1_700_000_001}
    assert judge(event, timestamp=1_700_000_001) == message
    assert "timestamp" not in json.loads(judge(event).value)


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        (b"\xff", "not_utf8", None),
        (b"{", "not_json", None),
        (b"[]", "not_an_object", None),
        ({**EVENT, "user_id": ""}, "invalid_user_id", "user_id"),
        ({**EVENT, "item_id": None}, "invalid_product_id", "product_id"),
        ({**EVENT, "action": "stare"}, "invalid_event_type", "event_type"),
        ({key: value for key, value in EVENT.items() if key != "action"}, "invalid_event_type", "event_type"),
        ({**EVENT, "process_time": "yesterday"}, "invalid_timestamp", "timestamp"),
        ({**EVENT, "note": "x" * LARGEST_EVENT}, "too_large", None),
    ],
)
def test_what_breaks_the_contract_says_why(body: object, reason: str, field: str | None) -> None:
    """The reason in the headers is the job's; the field is there where one is wrong."""
    with pytest.raises(RejectedEvent) as caught:
        judge(body)
    headers = rejection_headers(caught.value)
    assert (headers["x-reason"], headers.get("x-field")) == (reason, field)
    assert headers["x-detail"]


def test_an_identity_that_is_no_event_id_is_refused() -> None:
    """A message id may be longer than an event id."""
    with pytest.raises(RejectedEvent) as caught:
        judge(EVENT, identity="x" * 129)
    assert caught.value.reason == Reason.INVALID_EVENT_ID


def test_settings_have_defaults_and_never_show_the_password() -> None:
    """A RabbitMQ as it is installed needs none."""
    assert rabbit_settings({}) == RabbitSettings()
    assert rabbit_settings({"RABBITMQ_TLS": "on"}).port == 5671
    settings = rabbit_settings({"RABBITMQ_PASSWORD": "very secret", "RABBITMQ_QUEUE": "q"})
    assert settings.password == "very secret"
    assert "very secret" not in repr(settings)
    assert settings.dead_letter_queue == "q.dead"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("RABBITMQ_PORT", "amqp"),
        ("RABBITMQ_PORT", "0"),
        ("RABBITMQ_PREFETCH", "0"),
        ("RABBITMQ_PREFETCH", "-1"),
        ("RABBITMQ_METRICS_PORT", "65536"),
        ("RABBITMQ_TLS", "yes"),
        ("RABBITMQ_QUEUE", "x" * 251),
        ("RABBITMQ_QUEUE", "amq.events"),
        ("RABBITMQ_PASSWORD_FILE", "/nowhere"),
    ],
)
def test_wrong_settings_are_named(key: str, value: str) -> None:
    """With the value and what is allowed."""
    with pytest.raises(SettingError, match=key):
        rabbit_settings({key: value})


def test_certificates_without_tls_are_refused() -> None:
    """Who names certificates believes that they are looked at."""
    with pytest.raises(SettingError, match="RABBITMQ_TLS"):
        rabbit_settings({"RABBITMQ_CA_FILE": "ca.pem"})
