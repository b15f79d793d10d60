"""Events of an archive come out of their topics with the places that their records had."""

from __future__ import annotations

from flink_jobs.archived_records import Records, unpacked

TOPICS = ["view-events", "archived-1-view-events", "archived-1-view-events", "archived-1-view-events"]


def test_places_are_those_of_the_records() -> None:
    """Whatever the event holds; other topics' records, and those without a place, keep theirs."""
    read = Records([b"0:1 x", b'3:17 {"user_id": "a: b"}', b"{} 0:0", None], TOPICS, [5, 0, 1, 2], [6, 7, 8, 9])
    found = unpacked("archived-1-", read)
    assert found.values == [b"0:1 x", b'{"user_id": "a: b"}', b"{} 0:0", None]
    assert found.topics == ["view-events"] * 4
    assert found.partitions == [5, 3, 1, 2]
    assert found.offsets == [6, 17, 8, 9]
