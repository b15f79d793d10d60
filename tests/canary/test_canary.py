"""The canary against a service that answers as it is told, and what its events must not change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa

from reccore.canary import CANARY, OUTCOMES
from recsvc.statistics import Collected
from reweigh.canary.canary import Canary
from reweigh.canary.metrics import EVENTS, FRESHNESS, Metrics
from reweigh.errors import CommandError
from reweigh.train.events import EventTable


class Service:
    """Answers with states in turn, the last one again and again; a text that is no state is an error."""

    def __init__(self, *states: str, accepts: bool = True) -> None:
        self.states, self.accepts, self.events = list(states), accepts, list[dict[str, Any]]()
        self.time = 100.0

    def send_event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """``POST /update``."""
        if not self.accepts:
            raise CommandError("POST /update: 503")
        self.events.append(dict(event))
        return {"position": "view-events:0:7"}

    def recommend(self, user_id: str, n: int, after: str = "") -> dict[str, Any]:
        """``GET /recommend``."""
        assert (user_id, n, after) == (CANARY, 1, "view-events:0:7")
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state == "away":
            raise CommandError("GET /recommend: does not answer")
        return {"after": {"position": after, "state": state}}

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds


def measured(service: Service) -> tuple[dict[str, float], float]:
    """One turn; gives the events by outcome that came out, and the sum of the times."""
    metrics = Metrics()
    told = list[tuple[str, float]]()

    def tell(outcome: str, seconds: float) -> None:
        told.append((outcome, round(seconds, 6)))

    Canary(service, metrics, tell, patience_seconds=1.0, clock=lambda: service.time, sleep=service.sleep).turn()
    found = {each: metrics.registry.get_sample_value(EVENTS.name, {"outcome": each}) or 0.0 for each in OUTCOMES}
    assert metrics.registry.get_sample_value(f"{FRESHNESS.name}_count") == 1
    seconds = round(metrics.registry.get_sample_value(f"{FRESHNESS.name}_sum") or 0.0, 6)
    happened = {each: count for each, count in found.items() if count}
    assert told == [(outcome, seconds) for outcome in happened]
    return happened, seconds


def test_it_measures_until_the_event_is_in_an_answer() -> None:
    """A service that is away for a moment is asked again."""
    service = Service("pending", "away", "pending", "applied")
    assert measured(service) == ({"seen": 1}, 0.06)
    assert service.events == [{"user_id": CANARY, "product_id": CANARY, "event_type": "view", "tags": [CANARY]}]


def test_an_event_that_never_comes_counts_as_late() -> None:
    """With the time that it was waited for, which is beyond the objective."""
    assert measured(Service("pending"))[0] == {"late": 1}
    assert measured(Service("away"))[0] == {"late": 1}


def test_a_refused_event_counts_too() -> None:
    """Else freshness would look best while nothing is taken."""
    assert measured(Service("applied", accepts=False)) == ({"refused": 1}, 1.0)


def test_it_takes_no_part_in_statistics() -> None:
    """However many events it has, nobody is shown its product, and its tag is no part of everybody's."""
    plain, beside = Collected(3), Collected(3)
    for collected in (plain, beside):
        collected.put_product("p", [[5, 1, 0], 7, ["shoes"]])
        collected.put_tag("shoes", [[5, 1, 0], 7])
    beside.put_product(CANARY, [[9_000_000, 0, 0], 9, [CANARY]])
    beside.put_tag(CANARY, [[9_000_000, 0, 0], 9])
    for catalogue in (False, True):
        if catalogue:
            for collected in (plain, beside):
                collected.put_catalog({"q": {"name": "Q"}}, ["r"])
        ours, theirs = plain.snapshot(), beside.snapshot()
        assert ours.structure.ids == theirs.structure.ids == ("p",)
        assert ours.structure.tag_names == theirs.structure.tag_names
        assert ours.tag_counts == theirs.tag_counts


def test_no_model_learns_of_it() -> None:
    """Its events are left out before people are held out and products are numbered."""
    with duckdb.connect() as database:
        events = EventTable(database, ("view", "add_to_cart", "purchase"))
        users = ["u", "u", "v", CANARY, CANARY]
        columns = {
            "user_id": pa.array(users),
            "product_id": pa.array(["p", "q", "p", CANARY, CANARY]),
            "type": pa.array([0] * 5, pa.uint8()),
            "time_ms": pa.array(range(5), pa.int64()),
            "tags": pa.array([[]] * 5, pa.list_(pa.string())),
        }
        events.add(pa.table(columns))
        assert events.prepare(10) == 3
        assert events.interactions(held_out=False).product_ids == ("p", "q")
