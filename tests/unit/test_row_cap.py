"""Which tags of a user stay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reccore import encoding
from reccore.row_cap import RowCap

NAMES = st.sampled_from(["", "a", "b", "Z", "ä", "ß", "\U0001f600", "\ufffd", "a ", "aa"])
COUNTS = st.lists(st.integers(0, 5), min_size=3, max_size=3)


def test_most_events_stay_whatever_their_type_and_ties_go_by_name() -> None:
    """Five views beat four purchases; among equals the first names stay."""
    rows = {"bought": "0,0,4;9", "seen": "5,0,0;1", "b": "1,1,1;5", "a": "0,3,0;4", "c": "3,0,0;6"}
    assert RowCap(5).leaving(rows, 0) == ([], [])
    assert RowCap(3).leaving(rows, 0) == ([], ["b", "c"])
    assert RowCap(1).leaving(rows, 0) == ([], ["bought", "a", "b", "c"])


def test_expired_tags_go_first() -> None:
    """An expired tag takes nobody's place, however much it has counted, and isn't told among those beyond the cap."""
    rows = {"old": "9,9,9;1;100", "new": "1,0,0;1;190", "newer": "2,0,0;1;195", "ever": "3,0,0;1"}
    assert RowCap(2, tag_expiry_seconds=50).leaving(rows, now=200) == (["old"], ["new"])
    assert RowCap(3, tag_expiry_seconds=50).leaving(rows, now=200) == (["old"], [])
    assert RowCap(4, tag_expiry_seconds=50).leaving(rows, now=200) == ([], [])  # the sweep will come by
    assert RowCap(2).leaving(rows, now=200) == ([], ["newer", "new"])


def test_what_is_no_row_goes_before_any_row() -> None:
    """Somebody else's field in the hash costs no tag its place, and stops nothing."""
    rows = {"odd": "text", "none": "0,0,0;1", "one": "1,0,0;1"}
    assert RowCap(1, tag_expiry_seconds=5).leaving(rows, now=9) == ([], ["none", "odd"])


@given(st.lists(st.tuples(NAMES, COUNTS), max_size=30), st.integers(1, 6), st.data())
def test_order_and_moments_do_not_matter(events: list[tuple[str, list[int]]], most: int, data: st.DataObject) -> None:
    """Whenever and how often the others leave on the way, what stays is what one look at the final counts keeps."""
    final: dict[str, list[int]] = {}
    kept: dict[str, str] = {}
    for tag, counts in events:  # the job's state goes on counting what has left
        final[tag] = [one + more for one, more in zip(final.get(tag, [0, 0, 0]), counts, strict=True)]
        kept[tag] = encoding.encode_counts(final[tag], 1)
        if data.draw(st.booleans()):
            _leave(kept, most)
    _leave(kept, most)
    ranked = sorted(final, key=lambda tag: (-sum(final[tag]), tag))
    assert kept == {tag: encoding.encode_counts(final[tag], 1) for tag in ranked[:most]}


def _leave(kept: dict[str, str], most: int) -> None:
    for tag in RowCap(most).leaving(kept, 0)[1]:
        del kept[tag]
