"""Which tags of a user stay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reccore import encoding
from reccore.row_cap import Rank, RowCap, rank

NAMES = st.sampled_from(["", "a", "b", "Z", "ä", "ß", "\U0001f600", "\ufffd", "a ", "aa"])
COUNTS = st.lists(st.integers(0, 5), min_size=3, max_size=3)


def test_most_events_stay_whatever_their_type_and_ties_go_by_name() -> None:
    """Five views beat four purchases; among equals the first names stay."""
    rows = {"bought": "0,0,4;9", "seen": "5,0,0;1", "b": "1,1,1;5", "a": "0,3,0;4", "c": "3,0,0;6"}
    assert RowCap(5).leaving(rows, 0) == ([], [], None)
    assert RowCap(3).leaving(rows, 0) == ([], ["b", "c"], (-3, "a"))
    assert RowCap(1).leaving(rows, 0) == ([], ["bought", "a", "b", "c"], (-5, "seen"))
    assert RowCap(0).leaving(rows, 0) == ([], ["seen", "bought", "a", "b", "c"], None)


def test_expired_tags_go_first() -> None:
    """An expired tag takes nobody's place, however much it has counted, and isn't told among those beyond the cap."""
    rows = {"old": "9,9,9;1;100", "new": "1,0,0;1;190", "newer": "2,0,0;1;195", "ever": "3,0,0;1"}
    assert RowCap(2, tag_expiry_seconds=50).leaving(rows, now=200) == (["old"], ["new"], (-2, "newer"))
    assert RowCap(3, tag_expiry_seconds=50).leaving(rows, now=200) == (["old"], [], None)
    assert RowCap(4, tag_expiry_seconds=50).leaving(rows, now=200) == ([], [], None)  # the sweep will come by
    assert RowCap(2).leaving(rows, now=200) == ([], ["newer", "new"], (-3, "ever"))


def test_what_is_no_row_goes_before_any_row() -> None:
    """Somebody else's field in the hash costs no tag its place, and stops nothing."""
    rows = {"odd": "text", "none": "0,0,0;1", "one": "1,0,0;1"}
    assert RowCap(1, tag_expiry_seconds=5).leaving(rows, now=9) == ([], ["none", "odd"], (-1, "one"))


@given(st.lists(st.tuples(NAMES, COUNTS), max_size=30), st.integers(1, 6), st.data())
def test_order_and_moments_do_not_matter(events: list[tuple[str, list[int]]], most: int, data: st.DataObject) -> None:
    """Whenever and how often the others leave on the way, what stays is what one look at the final counts keeps.

    Also when what comes after the last one that was kept is left out from the beginning.
    """
    final: dict[str, list[int]] = {}
    kept: dict[str, str] = {}
    last_kept: Rank | None = None
    for tag, counts in events:  # the job's state goes on counting what has left
        final[tag] = [one + more for one, more in zip(final.get(tag, [0, 0, 0]), counts, strict=True)]
        row = encoding.encode_counts(final[tag], 1)
        if last_kept is None or rank(tag, row) <= last_kept:
            kept[tag] = row
        if data.draw(st.booleans()):
            last_kept = _leave(kept, most) or last_kept
    _leave(kept, most)
    ranked = sorted(final, key=lambda tag: (-sum(final[tag]), tag))
    assert kept == {tag: encoding.encode_counts(final[tag], 1) for tag in ranked[:most]}


def _leave(kept: dict[str, str], most: int) -> Rank | None:
    _, beyond, last_kept = RowCap(most).leaving(kept, 0)
    for tag in beyond:
        del kept[tag]
    return last_kept
