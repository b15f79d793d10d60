"""What an event is: the table of cases through the rule and the job's parser, and the two against each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.fast_parse import BatchParser
from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent, SettingError
from reccore.event_types import EventTypes
from reccore.events import Event, identity, parse_event
from reccore.metadata_numbers import ABSENT, MetadataNumbers
from tests.event_cases import CASES, RECORD_TIME_MS, Case

TYPES = EventTypes.from_settings({"EXTRA_EVENT_TYPES": "wishlist:wishlist-events"})
PARSER = BatchParser(TYPES)


def by_the_rule(raw: bytes | None, topic_type: str = "view") -> Event | str:
    """The rule's verdict: the event, or the reason."""
    try:
        return parse_event(raw, topic_type=topic_type, record_time_ms=RECORD_TIME_MS, event_types=TYPES)
    except RejectedEvent as error:
        return error.reason


def by_the_job(raw: bytes | None, topic_type: str = "view") -> Event | str:
    """The verdict of the job's parser on a batch of one."""
    batch = PARSER.parse([raw], [topic_type], [RECORD_TIME_MS])
    if batch.rejected:
        return batch.rejected[0].reason
    user_id, product_id, tags = batch.user_ids[0], batch.product_ids[0], batch.tags[0]
    assert user_id is not None
    assert product_id is not None
    return Event(
        batch.event_ids[0], user_id, product_id, topic_type, batch.times_ms[0], None if tags is None else tuple(tags)
    )


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_rule_on_the_table(case: Case) -> None:
    """Verdict, reason and values are those of the table."""
    assert by_the_rule(case.raw) == case.expected


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_job_on_the_table(case: Case) -> None:
    """The job's parser comes to the same."""
    assert by_the_job(case.raw) == case.expected


def test_batch_keeps_rows_in_place() -> None:
    """A rejected record takes its own row and leaves its neighbours where they are."""
    batch = PARSER.parse([case.raw for case in CASES], ["view"] * len(CASES), [RECORD_TIME_MS] * len(CASES))
    assert len(batch.user_ids) == len(batch.times_ms) == len(batch.tags) == len(CASES)
    for row, case in enumerate(CASES):
        assert (row in batch.rejected) == isinstance(case.expected, Reason)


odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.text(min_size=127, max_size=130),
    st.lists(st.text(max_size=3), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["view", "click", "wishlist", "purchase", "2020-01-01", 1_600_000_000, 1.6e12, -1, 10**11, 10**20]),
)  # fmt: skip
names = st.sampled_from(
    ["event_id", "user_id", "product_id", "item_id", "event_type", "action", "timestamp", "process_time", "tags",
     "session_id", "metadata", "other"]
)  # fmt: skip
records = st.builds(lambda base, more: base | more, st.sampled_from([{}, {"user_id": "u", "product_id": "p"}]),
                    st.dictionaries(names, odd, max_size=6))  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(record=records, topic_type=st.sampled_from(TYPES.names))
def test_job_agrees_with_the_rule(record: dict[str, Any], topic_type: str) -> None:
    """For any record, the parser of the hot path gives the rule's verdict, reason and values."""
    raw = json.dumps(record).encode()
    assert by_the_job(raw, topic_type) == by_the_rule(raw, topic_type)


@settings(max_examples=1500, deadline=None)
@given(raw=st.binary(max_size=40), case=st.sampled_from(CASES), place=st.integers(0, 200), cut=st.integers(0, 3))
def test_job_agrees_with_the_rule_on_damaged_bytes(raw: bytes, case: Case, place: int, cut: int) -> None:
    """Also for bytes that no producer meant, nothing but a verdict comes out, and it is the same."""
    whole = (case.raw or b"")[:2_000]
    damaged = whole[:place] + raw + whole[place + cut :]
    assert by_the_job(damaged) == by_the_rule(damaged)


numbers = st.one_of(
    st.integers(-5, 10**10), st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e9),
    st.sampled_from([True, "7", None, 0.0005, 0.0015, -0.0, 10**400, [1], {"a": 1}, 1_000_000_000.0004]),
)  # fmt: skip
metadata = st.dictionaries(st.sampled_from(["duration_ms", "scroll", "page"]), numbers, max_size=3)


@settings(max_examples=500, deadline=None)
@given(given_metadata=metadata)
def test_job_reads_numbers_of_metadata_as_the_rule_does(given_metadata: dict[str, Any]) -> None:
    """In whole thousandths; what is no number from 0 to a thousand million is none."""
    raw = json.dumps({"user_id": "u", "product_id": "p", "metadata": given_metadata}).encode()
    wanted = MetadataNumbers(("duration_ms", "scroll"))
    by_rule = by_the_rule(raw)
    assert isinstance(by_rule, Event)
    found = wanted.read(by_rule.metadata)
    assert wanted.read(PARSER.parse([raw], ["view"], [0]).metadata.get(0)) == found
    for number, name in zip(found, wanted.names, strict=True):
        value = given_metadata.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 10**9
        assert number == (round(value * 1000) if is_number else ABSENT)  # type: ignore[operator]


@pytest.mark.parametrize("given_names", ["a b", "1a", "a,,b", ",".join(f"n{n}" for n in range(9)), "a" * 33])
def test_wrong_names_of_numbers_are_refused(given_names: str) -> None:
    """At most eight plain names; ``none`` means none."""
    with pytest.raises(SettingError, match="METADATA_NUMBERS"):
        MetadataNumbers.from_settings({"METADATA_NUMBERS": given_names})
    assert MetadataNumbers.from_settings({"METADATA_NUMBERS": "none"}).names == ()
    assert MetadataNumbers.from_settings({}).names == ("duration_ms",)


def test_identity_of_a_place_is_no_id() -> None:
    """An event without id counts by its place, which nobody can name as an id."""
    place = identity(None, "view-events", 0, 7)
    assert place != identity("view-events:0:7", "view-events", 0, 7)
    assert place != identity("@view-events:0:7", "view-events", 0, 7)
    assert place[0] != identity(place, "view-events", 0, 7)[0]
