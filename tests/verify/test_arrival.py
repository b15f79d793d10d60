"""What is listed as left to arrival, with the places of its records."""

from __future__ import annotations

from reweigh.verify.arrival import Cases, LeftToArrival, left_to_arrival
from reweigh.verify.recount import CatalogueTags
from tests.verify.test_recount import WINDOW_MS, Record, event, recounted

LOG: list[Record] = [
    (0, 0, 0, event(event_id="a", tags=["one"])),
    (0, 1, 0, event(event_id="a", tags=["one"])),
    (3, 0, 0, event(event_id="a", tags=["other"])),
    (0, 2, 0, event(event_id="b", tags=["one"])),
    (0, 3, WINDOW_MS + 1, event(event_id="b", tags=["one"])),
    (0, 4, 100, event()),
    (0, 5, 300, event()),
]


def test_lists_each_kind_with_places() -> None:
    """Of an id with different contents those records first that may count."""
    with recounted(LOG) as recount:
        recount.know_catalogue({"p": CatalogueTags(["x"], 200)})
        recount.count()
        assert left_to_arrival(recount.database, 20) == LeftToArrival(
            contested=Cases(1, [["view-events:0:0", "add-to-cart-events:1:0", "view-events:0:1"]]),
            beyond_window=Cases(1, [["view-events:0:2", "view-events:0:3"]]),
            any_tags=Cases(1, [["view-events:0:4"]]),
        )


def test_lists_the_first_of_many() -> None:
    """As they stand in the log: so many of each kind, and no more places of each; all are in the number."""
    log = [(place, n, 0, event(event_id=str(n), tags=[str(place)])) for n in range(30) for place in (1, 0, 2)]
    with recounted(log) as recount:
        recount.count()
        found = left_to_arrival(recount.database, 2)
    assert found.contested == Cases(30, [[f"view-events:{partition}:{n}" for partition in (0, 1)] for n in (0, 1)])
    assert found.beyond_window == found.any_tags == Cases(0, [])
