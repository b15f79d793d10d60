"""The rules by themselves: weights, scores, the Redis layout, times."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reccore import encoding, layout
from reccore.dead_letters import LARGEST_VALUE_KEPT, dead_letter
from reccore.errors import SettingError, WeightsError
from reccore.event_types import EventTypes
from reccore.scoring import format_score, score
from reccore.slots import slot
from reccore.timestamps import iso_8601, parse_timestamp
from reccore.totals import totals_from_rows
from reccore.weights import LARGEST_DOCUMENT, default_weights, parse_weights, weights_of_record

TYPES = EventTypes.from_settings({})
WITH_WISHLIST = EventTypes.from_settings({"EXTRA_EVENT_TYPES": "wishlist:wishlist-events"})
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite)
def test_score_text_reads_back(value: float) -> None:
    """The text of a score reads back to the same double, and an integral one has no fraction."""
    text = format_score(value)
    assert float(text) == value
    assert text.lstrip("-").isdigit() == value.is_integer()


def test_score_is_weighed_counts() -> None:
    """Σ weight × count; a row from before a type was added counts as 0; no score leaves the doubles."""
    assert score((2, 1, 1), (1.0, 3.0, 5.0)) == 10
    assert score((2, 1), (1.0, 3.0, 5.0)) == 5
    assert score((10, 0, 0), (1e308, 0.0, 0.0)) < math.inf
    assert json.loads(json.dumps(score((10, 0, 0, 10), (1e308, 0.0, 0.0, -1e308)))) is not None


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (b"", "weights"), (b"null", "weights"), (b"[]", "weights"), (b"{", "weights"), (b"\xff", "weights"),
        (b'{"view":NaN,"add_to_cart":1,"purchase":1}', "weights"), (b"[" * 50_000, "weights"),
        (b" " * (LARGEST_DOCUMENT + 1), "weights"), (b"{}", "view"), (b'{"view":1,"add_to_cart":3}', "purchase"),
        (b'{"view":-1,"add_to_cart":3,"purchase":5}', "view"), (b'{"view":"1","add_to_cart":3,"purchase":5}', "view"),
        (b'{"view":true,"add_to_cart":3,"purchase":5}', "view"), (b'{"view":1e999,"add_to_cart":3,"purchase":5}', "view"),
        (b'{"view":1,"add_to_cart":3,"cart":3,"purchase":5}', "cart"), (b'{"view":null,"add_to_cart":3,"purchase":5}', "view"),
        (b'{"view":1,"add_to_cart":3,"purchase":5,"wish":1}', "wish"), (b'{"view":1,"view":2,"add_to_cart":3,"purchase":5}', "weights"),
        (b'{"view":0,"add_to_cart":0,"purchase":0}', "weights"), (b'{"view":1' + b"0" * 400 + b',"add_to_cart":3,"purchase":5}', "view"),
    ],
)  # fmt: skip
def test_bad_weights_are_named(document: bytes, field: str) -> None:
    """A document that breaks a rule is refused, and the error names the field."""
    with pytest.raises(WeightsError) as caught:
        parse_weights(document, TYPES)
    assert caught.value.field == field
    assert str(caught.value).encode()


def test_good_weights() -> None:
    """``cart`` is ``add_to_cart``; a further type may be left out or negative; numbers stay as written."""
    assert parse_weights(b'{"view":1,"cart":3,"purchase":5}', TYPES).as_dict() == default_weights(TYPES).as_dict()
    weights = parse_weights(b'{"view":0.5,"add_to_cart":3,"purchase":5,"wishlist":-2}', WITH_WISHLIST)
    assert weights.values == (0.5, 3.0, 5.0, -2.0)
    assert parse_weights(b'{"view":1,"add_to_cart":3,"purchase":5}', WITH_WISHLIST).values[-1] == 0
    assert parse_weights(weights.as_json(), WITH_WISHLIST) == weights


def test_huge_weights_stay_json_numbers() -> None:
    """An integer beyond 64 bits is kept as the double that it is weighed as."""
    weights = parse_weights(b'{"view":1000000000000000000000000,"add_to_cart":3,"purchase":5}', TYPES)
    assert weights.numbers == (1e24, 3, 5)
    assert isinstance(weights.numbers[0], float)


def test_record_of_other_types_is_read() -> None:
    """A process with fewer or more types reads the weights of its own from the record of another."""
    record = parse_weights(b'{"view":1,"cart":3,"purchase":5,"wishlist":-2}', WITH_WISHLIST).as_json().decode()
    assert weights_of_record(record, TYPES).as_dict() == {"view": 1, "add_to_cart": 3, "purchase": 5}
    assert weights_of_record('{"view":1,"add_to_cart":3,"purchase":5}', WITH_WISHLIST).values == (1.0, 3.0, 5.0, 0.0)


@pytest.mark.parametrize("given_types", ["view:x", "click:x", "a", "A:x", "a:view-events", "a:x,a:y", "a:x y"])
def test_bad_event_types_are_named(given_types: str) -> None:
    """A further type that can't be is refused at start-up."""
    with pytest.raises(SettingError):
        EventTypes.from_settings({"EXTRA_EVENT_TYPES": given_types})


ids = st.text(min_size=1, max_size=20) | st.text(st.sampled_from("{}ab:"), min_size=1, max_size=8)


@given(ids)
def test_keys_of_a_user_share_a_slot(user_id: str) -> None:
    """Braces in the id or not, one atomic step may touch all keys of a user in Redis Cluster."""
    profile = layout.profile_key(user_id)
    for beside in (layout.counts_key, layout.purchased_key, layout.recent_key, layout.arrivals_key):
        assert slot(beside(user_id)) == slot(profile)
    assert layout.is_arrivals_key(layout.arrivals_key(user_id))
    assert not layout.is_arrivals_key(layout.recent_key(user_id))
    assert layout.user_of_profile_key(profile) == user_id


@given(ids, ids)
def test_keys_of_users_differ(one: str, other: str) -> None:
    """No key of one user is any key of another."""
    if one != other:
        of_one, of_other = (
            {layout.profile_key(each), layout.counts_key(each), layout.purchased_key(each)} for each in (one, other)
        )
        assert not of_one & of_other
        assert len(of_one) == 3


def test_slot_is_that_of_redis() -> None:
    """Values that ``CLUSTER KEYSLOT`` gives."""
    assert slot("123456789") == 12_739
    assert slot("foo{bar}baz") == slot("bar")
    assert slot("foo{}{bar}") != slot("bar")


@given(
    st.lists(st.integers(0, 2**60), min_size=1),
    st.integers(0, 2**50),
    st.none() | st.integers(0, 2**40),
    st.integers(0, 2**60),
)
def test_counts_read_back(counts: list[int], newest_ms: int, written_at: int | None, number: int) -> None:
    """A row of counts reads back, whole and the parts that are read alone."""
    row = encoding.encode_counts(counts, newest_ms, written_at, number)
    assert encoding.decode_counts(row) == encoding.TagCounts(tuple(counts), newest_ms, written_at, number)
    assert encoding.number_of_row(row) == number
    assert encoding.compared_part(row) == encoding.encode_counts(counts, newest_ms)
    assert encoding.split_counts(encoding.counts_of_row(row)) == tuple(counts)
    assert encoding.newest_of_rows([row, encoding.encode_counts([1], 0)]) == newest_ms


def test_nobody_has_no_newest_event() -> None:
    """Without rows there is no newest event."""
    assert encoding.newest_of_rows([]) is None


@given(st.integers(0, 253_402_300_799_999))
def test_times_read_back(milliseconds: int) -> None:
    """ISO 8601 gives the same millisecond back, and so does the number itself where it means milliseconds."""
    assert parse_timestamp(iso_8601(milliseconds)) == milliseconds
    if milliseconds >= 10**11:
        assert parse_timestamp(milliseconds) == milliseconds


def test_dead_letter_always_fits() -> None:
    """A value of any size makes a message that the topic takes; one that fits is kept to the byte."""
    place: dict[str, Any] = {"topic": "t", "partition": 0, "offset": 7, "timestamp": 1}
    kept = dead_letter("not_json", "x", **place, raw=b"x" * LARGEST_VALUE_KEPT)
    left_out = dead_letter("not_json", "x", **place, raw=b"x" * (LARGEST_VALUE_KEPT + 1))
    assert len(left_out) < len(kept) < 4 * 1024 * 1024
    assert base64.b64decode(json.loads(kept)["raw"]) == b"x" * LARGEST_VALUE_KEPT
    assert json.loads(left_out)["raw"] is None
    assert str(LARGEST_VALUE_KEPT + 1) in json.loads(left_out)["detail"]


def test_totals_add_up() -> None:
    """Duplicates are what is left of the records after events and dead letters."""
    totals = totals_from_rows({"read:a": 10, "read:b": 5, "applied:view": 8, "dead:not_json": 3, "untagged": 1})
    assert (totals.records_in, totals.duplicates, totals.untagged) == (15, 4, 1)
