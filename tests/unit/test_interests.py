"""Interest profiles: the message, its rule, the vector, and which of several counts."""

from __future__ import annotations

import json
import math
import re
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reccore import layout
from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent
from reccore.event_types import EventTypes
from reccore.interests import HistoryItem, InterestProfile, Interests, parse_profile, profile_message, unit_vector
from reccore.slots import slot
from reccore.weights import default_weights

TYPES = EventTypes.from_settings({})
GOOD: dict[str, Any] = {
    "user_id": "u",
    "timestamp": 5_000_000_000_000,
    "items": [{"item_id": 7}],
    "tags": {"a": 3, "b": 4.0},
}


def parsed(**members: object) -> InterestProfile:
    """Parse the good message with other members."""
    return parse_profile(json.dumps({**GOOD, **members}).encode(), record_time_ms=1_600_000_000_000)


def test_a_message_is_made_of_events_and_read_back() -> None:
    """Each item with its weight, each tag with the sum, once for an event whatever else it carries."""
    items = [
        HistoryItem("p1", "purchase", 30, ("shoes", "red")),
        HistoryItem("p2", "view", 20, ("red",)),
        HistoryItem("p3", "add_to_cart", 10, ()),
    ]
    message = profile_message("u", 4_000_000_000_000, items, default_weights(TYPES), 7)
    assert message == {
        "user_id": "u",
        "timestamp": 4_000_000_000_000,
        "items": [
            {"item_id": "p1", "action": "purchase", "weight": 5, "timestamp": 30, "tags": ["shoes", "red"]},
            {"item_id": "p2", "action": "view", "weight": 1, "timestamp": 20, "tags": ["red"]},
            {"item_id": "p3", "action": "add_to_cart", "weight": 3, "timestamp": 10, "tags": []},
        ],
        "tags": {"shoes": 5.0, "red": 6.0},
        "weights_version": 7,
    }
    found = parse_profile(json.dumps(message).encode(), record_time_ms=0)
    assert found == InterestProfile("u", 4_000_000_000_000, 3, {"shoes": 5.0, "red": 6.0}, 7)


def test_what_may_be_left_out() -> None:
    """The time, which is then Kafka's, and the version."""
    assert parsed() == InterestProfile("u", 5_000_000_000_000, 1, {"a": 3.0, "b": 4.0}, 0)
    assert parsed(timestamp=None, items=[], tags={}) == InterestProfile("u", 1_600_000_000_000, 0, {}, 0)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"user_id": None}, Reason.INVALID_USER_ID),
        ({"user_id": "u" * 129}, Reason.INVALID_USER_ID),
        ({"timestamp": -1}, Reason.INVALID_TIMESTAMP),
        ({"items": None}, Reason.INVALID_ITEMS),
        ({"items": {}}, Reason.INVALID_ITEMS),
        ({"items": ["p"]}, Reason.INVALID_ITEMS),
        ({"items": [{}]}, Reason.INVALID_ITEMS),
        ({"items": [{"item_id": "p"}] * 51}, Reason.INVALID_ITEMS),
        ({"tags": None}, Reason.INVALID_TAGS),
        ({"tags": ["a"]}, Reason.INVALID_TAGS),
        ({"tags": {"": 1}}, Reason.INVALID_TAGS),
        ({"tags": {"x" * 65: 1}}, Reason.INVALID_TAGS),
        ({"tags": {"a": "1"}}, Reason.INVALID_TAGS),
        ({"tags": {"a": True}}, Reason.INVALID_TAGS),
        ({"tags": {"a": 10**400}}, Reason.INVALID_TAGS),
        ({"tags": {str(number): 1 for number in range(1_601)}}, Reason.INVALID_TAGS),
        ({"weights_version": "7"}, Reason.INVALID_WEIGHTS_VERSION),
        ({"weights_version": -1}, Reason.INVALID_WEIGHTS_VERSION),
    ],
)
def test_what_is_refused(members: dict[str, object], reason: Reason) -> None:
    """By its reason, which names the member."""
    with pytest.raises(RejectedEvent) as refused:
        parsed(**members)
    assert refused.value.reason == reason
    assert re.match(rf"{reason.field}|item_id", refused.value.detail)


def test_infinity_is_refused() -> None:
    """Which JSON has by a number that is too large for it."""
    raw = json.dumps(GOOD).replace("4.0", "1e999").encode()
    with pytest.raises(RejectedEvent, match="finite"):
        parse_profile(raw, record_time_ms=0)


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.floats(allow_nan=False, allow_infinity=False)))
def test_vectors_have_length_1(sums: dict[str, float]) -> None:
    """Whatever the sums, the largest and smallest doubles too; signs stay, and nothing of weight 0 is there."""
    vector = unit_vector(sums)
    if any(sums.values()):
        assert math.hypot(*vector.values()) == pytest.approx(1)
    assert all(vector[tag] * sums[tag] > 0 for tag in vector if abs(sums[tag]) > 1e-100 < abs(vector[tag]))
    assert all(sums[tag] for tag in vector)


def test_the_newest_counts_whatever_the_order() -> None:
    """Of one time the greater by contents, so that all who read them in another order come to the same."""
    profiles = [
        InterestProfile("u", 1, 50, {"a": 9.0}, 9),
        InterestProfile("u", 2, 3, {"a": 3.0, "b": 4.0}, 1),
        InterestProfile("u", 2, 3, {"a": 4.0, "b": 3.0}, 1),
    ]
    found = {max(map(Interests.of, each)) for each in permutations(profiles)}
    assert found == {Interests(2, 3, 1, (("a", "0.8"), ("b", "0.6")))}


def test_stored_interests_read_back() -> None:
    """From the vector's hash and the one beside it."""
    interests = Interests.of(InterestProfile("u", 5, 3, {"b": -3.0, "a": 4.0}, 7))
    assert interests.vector == (("a", "0.8"), ("b", "-0.6"))
    assert Interests.stored(dict(interests.vector), interests.about()) == interests
    assert Interests.stored({}, {}) is None


@given(st.text(st.sampled_from("a{}:/ü1"), min_size=1, max_size=12))
def test_keys_tell_whose_they_are(user_id: str) -> None:
    """Any id, braces and all; ratings and interests are no part of what is counted."""
    for key in (layout.ratings_key(user_id), layout.interests_key(user_id), layout.about_interests_key(user_id)):
        assert layout.is_followed_key(key)
        assert layout.user_of_key(key) is None
        assert not layout.is_arrivals_key(key)
    counted = (layout.profile_key(user_id), layout.counts_key(user_id), layout.recent_key(user_id))
    for key in (*counted, layout.purchased_key(user_id), layout.arrivals_key(user_id)):
        assert not layout.is_followed_key(key)
        assert layout.user_of_key(key) == (user_id if key in counted else None)
    assert slot(layout.ratings_key(user_id)) == slot(layout.profile_key(user_id))
    assert slot(layout.about_interests_key(user_id)) == slot(layout.interests_key(user_id))
