"""What a rebuild leaves behind in Kafka, without Kafka."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from reweigh.rebuild_source import RebuildSource
from reweigh.topics import Topics

NAMES = [
    "archived-reweigh-replay-1790000000-view-events",
    "archived-reweigh-replay-1790000000-archived-wishes",
    "archived-wishes",
    "archived-reweigh-replay",
    "archived-reweigh-replay-wishes",
    "old-archived-reweigh-replay-1790000000-view-events",
    "view-events",
]


class Deleted(list[str]):
    """Topics of which one asks only which were deleted."""

    def names(self) -> list[str]:
        """Those of now."""
        return NAMES

    def delete(self, names: Collection[str]) -> None:
        """Note them."""
        self += names


def test_only_topics_of_an_earlier_rebuild_are_deleted() -> None:
    """A shop may name a topic of its own much like them, and its records are the only ones there are."""
    deleted = Deleted()
    source = RebuildSource("127.0.0.1:1", ["view-events", "archived-wishes"], cast("Topics", deleted))
    source.end()
    assert deleted == []
    source.is_live = True
    source.end()
    assert deleted == NAMES[:2]
