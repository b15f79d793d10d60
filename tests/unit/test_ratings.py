"""Ratings: the table of cases through the rule, and that neither order nor repeats change what is kept."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reccore import ratings
from reccore.errors import RejectedEvent
from reccore.ratings import Rated, Rating, decode_rated, encode_rated, newest_ratings, parse_rating
from tests.rating_cases import NO_VALUE, RATING_CASES, RECORD_TIME_MS, RatingCase


@pytest.mark.parametrize("case", [*RATING_CASES, NO_VALUE], ids=lambda case: case.name)
def test_the_rule_on_the_table(case: RatingCase) -> None:
    """Verdict, reason and values are those of the table."""
    try:
        found: Rating | str = parse_rating(case.raw, record_time_ms=RECORD_TIME_MS)
    except RejectedEvent as error:
        found = error.reason
    assert found == case.expected


def test_the_reason_is_told_with_value_and_what_is_allowed() -> None:
    """So that whoever sent it knows what to mend."""
    with pytest.raises(RejectedEvent, match=r"rating: 7, a number from 0\.5 to 5 is allowed"):
        parse_rating(b'{"user_id":"u","product_id":"p","rating":7}', record_time_ms=0)


@given(st.floats(0.5, 5.0), st.integers(0, 2**50))
def test_stored_ratings_read_back(rating: float, time_ms: int) -> None:
    """To the same double."""
    assert decode_rated(encode_rated(Rated(time_ms, rating))) == Rated(time_ms, rating)


def test_stored_ratings_look_as_documented() -> None:
    """An integral one has no fraction."""
    assert encode_rated(Rated(1_700_000_000_000, 4.0)) == "4;1700000000000"
    assert encode_rated(Rated(5, 4.5)) == "4.5;5"


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 6), st.sampled_from([0.5, 3.0, 5.0])), max_size=40),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
)
def test_neither_order_nor_repeats_change_what_is_kept(
    sent: list[tuple[str, int, float]], draw: random.Random, most: int
) -> None:
    """Folded in one after the other in any order, some of them again, it is what all of them at once come to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ratings, "MOST_RATINGS", most)
        best: dict[str, Rated] = {}
        for product, time_ms, rating in sent:
            best[product] = max(Rated(time_ms, rating), best.get(product, Rated(-1, 0.0)))
        again = [*sent, *draw.sample(sent, len(sent) // 2)]
        draw.shuffle(again)
        kept: dict[str, Rated] = {}
        for product, time_ms, rating in again:
            new = Rated(time_ms, rating)
            kept = newest_ratings({**kept, product: max(new, kept.get(product, new))})
        assert kept == newest_ratings(best)
        assert len(kept) <= most
