"""What counts as a difference between a rebuild and what is live, without servers."""

from __future__ import annotations

from typing import Any

import pytest

from reccore import layout
from reweigh.rebuilt import Comparer, Moved

COUNTS, PROFILE, BOUGHT = (make("ann") for make in (layout.counts_key, layout.profile_key, layout.purchased_key))
NOTHING = Moved()


def comparer(**given: bool) -> Comparer:
    """One that compares everything, unless told otherwise."""
    return Comparer(**{"scores": True, "partial": False, "expiry": False, **given}, most_tags=2, most_products=2)


@pytest.mark.parametrize(
    ("key", "live", "rebuilt"),
    [
        (COUNTS, {"a": "1,0,0;5"}, {"a": "2,0,0;5"}),
        (COUNTS, {}, {"a": "2,0,0;5"}),
        (layout.items_key("ann"), {"p": "1,0,0;5;5:1"}, {"p": "1,0,0;5;6:1"}),
        (PROFILE, {"a": "1"}, {"a": "2"}),
        (BOUGHT, {"p"}, {"p", "q"}),
        (layout.PRODUCT_STATISTICS, {"p": "[[1,0,0],5,[]]"}, {"p": "[[2,0,0],5,[]]"}),
        (layout.TOTALS, {"read:view-events": "1"}, {"read:view-events": "2"}),
        ("other", None, "x"),
    ],
)
def test_the_whole_log_rebuilt_must_be_the_same(key: str, live: Any, rebuilt: Any) -> None:
    """Each kind of key, in both directions."""
    assert comparer().differs(key, live, rebuilt, NOTHING)
    assert comparer().differs(key, rebuilt, live, NOTHING)
    assert not comparer().differs(key, rebuilt, rebuilt, NOTHING)


def test_what_later_events_concern_is_left_out() -> None:
    """Their users wholly, of the statistics their products and tags, and the totals."""
    moved = Moved(1, {COUNTS}, {"p"}, {"a"})
    assert not comparer().differs(COUNTS, {"a": "1;5"}, {}, moved)
    one, other = {"p": "[[1],5,[]]", "q": "[[1],5,[]]"}, {"p": "[[2],5,[]]", "q": "[[1],5,[]]"}
    assert not comparer().differs(layout.PRODUCT_STATISTICS, one, other, moved)
    assert comparer().differs(layout.PRODUCT_STATISTICS, one, {**other, "q": "[[3],5,[]]"}, moved)
    assert comparer().differs(layout.TAG_STATISTICS, one, other, moved)
    assert not comparer().differs(layout.TAG_STATISTICS, one, other, Moved(1, any_tags=True))
    assert not comparer().differs(layout.TOTALS, {"read:x": "2"}, {"read:x": "1"}, moved)


def test_scores_of_different_weights_are_not_compared_but_their_tags_are() -> None:
    """Nobody brings the scores of a rebuild in line when the weights change."""
    assert not comparer(scores=False).differs(PROFILE, {"a": "1"}, {"a": "2"}, NOTHING)
    assert comparer(scores=False).differs(PROFILE, {"a": "1"}, {"b": "1"}, NOTHING)


def test_a_part_of_the_log_may_not_hold_more_than_the_whole() -> None:
    """Less is what it is expected to hold."""
    part = comparer(partial=True)
    assert not part.differs(COUNTS, {"a": "2,1,0;5", "b": "1,0,0;4"}, {"a": "1,1,0;5"}, NOTHING)
    assert part.differs(COUNTS, {"a": "2,1,0;5"}, {"a": "1,2,0;5"}, NOTHING)
    assert part.differs(COUNTS, {"a": "2,1,0;5"}, {"b": "1,0,0;5"}, NOTHING)
    assert not part.differs(COUNTS, {"a": "2,1,0;5", "b": "3,0,0;5"}, {"c": "1,0,0;5"}, NOTHING)  # beyond the cap
    assert not part.differs(BOUGHT, {"p", "q"}, {"p"}, NOTHING)
    assert part.differs(BOUGHT, None, {"p"}, NOTHING)
    assert not part.differs(layout.TAG_STATISTICS, {"a": "[[3],9]"}, {"a": "[[2],9]"}, NOTHING)
    assert part.differs(layout.TAG_STATISTICS, {"a": "[[1],9]"}, {"a": "[[2],9]"}, NOTHING)


def test_a_forgotten_tag_may_be_missing_where_tags_expire() -> None:
    """A rebuild has counted it just now; what both have must be the same."""
    forgetful = comparer(expiry=True)
    assert not forgetful.differs(COUNTS, {"a": "1;5"}, {"a": "1;5", "b": "1;1"}, NOTHING)
    assert not forgetful.differs(PROFILE, {"a": "1"}, {"a": "1", "b": "1"}, NOTHING)
    assert forgetful.differs(COUNTS, {"a": "1;5"}, {"a": "2;5"}, NOTHING)
