"""Reading one's own writes: what is said of an event, and that it is said only when it is true."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reccore import encoding
from reccore.tag_list import escape_all, join_tags
from recsvc.ingest import Placed
from recsvc.own_writes import STATES, OwnWrites
from recsvc.user_store import StoredUser
from tests.recsvc.conftest import TYPES, Bench


def arrival(number: int, event: str, *tags: str) -> str:
    """An arrival as the job writes it."""
    (escaped,) = escape_all([event])
    return encoding.encode_arrival(number, str(escaped), join_tags(tags) if tags else "")[1]


def sent(bench: Bench, **further: Any) -> str:
    """Send a view of ``u``; gives its position."""
    event = {"user_id": "u", "product_id": "p", "event_type": "view", **further}
    answer = bench.http.post("/update", json=event)
    assert answer.status_code == 202
    assert answer.json["position"] == "{topic}:{partition}:{offset}".format(**answer.json)
    return str(answer.json["position"])


def asked(bench: Bench, position: str, wait_ms: int = 0) -> dict[str, Any]:
    """What the answer says of the event."""
    answer = bench.http.get("/recommend/u", query_string={"after": position, "wait_ms": wait_ms}).json
    assert answer["after"].pop("position") == position
    found: dict[str, Any] = answer["after"]
    assert found["state"] in STATES
    return found


def row(number: int) -> str:
    """A row that holds events up to this number."""
    return encoding.encode_counts((1, 0, 0), 1, None, number)


def stored(*arrivals: str, items: dict[str, int] | None = None, **numbers: int) -> StoredUser:
    """A user whose rows hold events up to these numbers, by default those of the products as many as have arrived."""
    arrived = map(encoding.decode_arrival, arrivals)
    products = {each.event.split(":", 3)[3]: each.number for each in arrived} if items is None else items
    rows, of_products = ({name: row(number) for name, number in each.items()} for each in (numbers, products))
    return StoredUser(rows, frozenset(), arrivals, of_products)


def test_an_event_is_in_the_answer_when_the_rows_of_all_its_tags_hold_it(bench: Bench) -> None:
    """A row of a lower number was written before it; one of a higher number holds it too."""
    position = sent(bench)
    assert asked(bench, position) == {"state": "pending"}
    numbers: Any
    for numbers in ({"a": 7}, {"a": 7, "b": 6}, {"a": 0, "b": 9}):
        bench.users.users["u"] = stored(arrival(7, "0:0:0:p", "a", "b"), **numbers)
        assert asked(bench, position) == {"state": "pending"}
    bench.users.users["u"] = stored(arrival(6, "0:0:5:p", "a"), arrival(7, "0:0:0:p", "a", "b"), a=7, b=9)
    assert asked(bench, position) == {"state": "applied"}


@pytest.mark.parametrize("product", ["p", "a\x1f;:\x1d"])
def test_an_event_is_in_the_answer_when_the_row_of_its_product_holds_it(bench: Bench, product: str) -> None:
    """Also without tags. Products, like tags, may hold any character."""
    for tags in ([], ["\x1f"]):
        position = sent(bench, product_id=product, event_type="purchase", tags=tags)
        place = position.partition(":")[2]
        here = arrival(2, f"2:{place}:{product}", *tags)
        for items in ({}, {product: 1}, {"another": 2}):
            bench.users.users["u"] = stored(here, items=items, **{"\x1f": 2})
            assert asked(bench, position) == {"state": "pending"}
        bench.users.users["u"] = stored(here, items={product: 2}, **{"\x1f": 2})
        assert asked(bench, position) == {"state": "applied"}


def test_where_products_are_not_counted_a_purchase_must_be_among_the_bought(bench: Bench) -> None:
    """Other events are told by their tags alone."""
    own_writes = OwnWrites(bench.users, bench.settled, TYPES, most_products=0)
    bought, seen = Placed("purchase-events", 0, 0), Placed("view-events", 0, 0)
    bench.users.users["u"] = StoredUser({}, frozenset(), (arrival(1, "2:0:0:p"), arrival(2, "0:0:0:q")))
    assert own_writes.wait("u", bought, 0).state == "pending"
    assert own_writes.wait("u", seen, 0).state == "applied"
    bench.users.users["u"] = StoredUser({}, frozenset({"p"}), (arrival(1, "2:0:0:p"),))
    assert own_writes.wait("u", bought, 0).state == "applied"


def test_waits_until_it_is_there(bench: Bench) -> None:
    """The answer is made of what was read when the event was seen."""
    position = sent(bench, tags=["a"])
    looks = 0

    def user(user_id: str, *, arrivals: bool = False, items: bool = False, ratings: bool = False) -> StoredUser:
        nonlocal looks
        assert (user_id, arrivals, items, ratings) == ("u", True, True, True)
        looks += 1
        return stored(arrival(1, "0:0:0:p", "a"), a=1) if looks == 4 else stored()

    bench.users.user = user  # type: ignore[method-assign]
    answer = bench.http.get("/recommend/u", query_string={"after": position, "wait_ms": 5_000}).json
    assert answer["after"]["state"] == "applied"
    assert [each["tag"] for each in answer["tags"]] == ["a"]
    assert looks == 4


def test_redis_may_come_back_while_it_is_waited_for(bench: Bench) -> None:
    """It is asked again until the time is over."""
    position = sent(bench, tags=[])
    bench.users.users["u"] = stored(arrival(1, "0:0:0:p"))
    bench.users.up = False
    read, looks = bench.users.user, 0

    def user(user_id: str, *, arrivals: bool = False, items: bool = False, ratings: bool = False) -> StoredUser:
        nonlocal looks
        looks += 1
        bench.users.up = looks > 2
        return read(user_id, arrivals=arrivals, items=items, ratings=ratings)

    bench.users.user = user  # type: ignore[method-assign]
    assert asked(bench, position, 5_000) == {"state": "applied"}
    assert looks == 3


def test_a_repeat_is_told_once_a_checkpoint_covers_it(bench: Bench) -> None:
    """Before, it might still be on its way."""
    sent(bench, event_id="e")
    repeated = sent(bench, event_id="e")
    bench.users.users["u"] = stored(arrival(1, "0:0:0:p"))
    assert asked(bench, repeated) == {"state": "pending"}
    bench.settled.settled_upto = 2
    assert asked(bench, repeated) == {"state": "unknown"}, "where no events are kept, there is nothing to tell it by"
    bench.users.events["u"] = [("0:0:0:p", 1)]
    assert asked(bench, repeated) == {"state": "duplicate"}


def test_what_left_the_newest_events_can_not_be_told_from_a_repeat(bench: Bench) -> None:
    """Unless it is still among them."""
    position = sent(bench, event_id="e", timestamp=1_600_000_000)
    bench.settled.settled_upto = 1
    bench.users.events["u"] = [("0:0:9:q", 1_700_000_000_000)]
    assert asked(bench, position) == {"state": "unknown"}
    bench.users.events["u"].append(("0:0:0:p", 1_600_000_000_000))
    assert asked(bench, position) == {"state": "applied"}


@pytest.mark.parametrize(
    ("rows", "items", "state"),
    [
        ("ab", "p", "applied"),
        ("", "", "unknown"),
        ("a", "p", "unknown"),
        ("ab", "q", "unknown"),
        ("ac", "p", "unknown"),
        ("axyz", "p", "applied"),
        ("ab", "qrs", "applied"),
    ],
)
def test_without_an_id_it_is_told_by_its_rows(bench: Bench, rows: str, items: str, state: str) -> None:
    """Nothing repeats it, so it was applied once it is settled; Redis may have lost it, and a full hash let it go."""
    place = Placed.parse(sent(bench, tags=["a", "b"]))
    bench.settled.settled_upto = 1
    own_writes = OwnWrites(bench.users, bench.settled, TYPES, most_tags=4, most_products=3)
    bench.users.users["u"] = stored(items=dict.fromkeys(items, 1), **dict.fromkeys(rows, 1))
    assert own_writes.wait("u", place, 0).state == state


@pytest.mark.parametrize("tags", [None, []])
def test_without_tags_of_its_own_it_is_told_by_its_product(bench: Bench, tags: list[str] | None) -> None:
    """Where products are not counted, a purchase by what was bought; there is nothing to tell others by."""
    bought = Placed.parse(sent(bench, tags=tags, event_type="purchase"))
    seen = Placed.parse(sent(bench, tags=tags))
    bench.settled.settled_upto = 2
    without = OwnWrites(bench.users, bench.settled, TYPES, most_products=0)
    for user, counted, uncounted in (
        (StoredUser({}, frozenset()), "unknown", "unknown"),
        (StoredUser({}, frozenset({"p"}), items={"p": row(1)}), "applied", "applied"),
    ):
        bench.users.users["u"] = user
        assert [asked(bench, str(each))["state"] for each in (bought, seen)] == [counted, counted]
        assert [without.wait("u", each, 0).state for each in (bought, seen)] == [uncounted, "applied"]


def test_a_dead_letter_is_told_with_its_reason(bench: Bench) -> None:
    """Whoever wrote it past the service."""
    position = sent(bench)
    message = bench.kafka.messages[0]
    bench.kafka.messages[0] = type(message)(message.topic, message.key, b"[]")
    bench.settled.settled_upto = 1
    assert asked(bench, position) == {"state": "dead_letter", "reason": "not_an_object"}


def test_somebody_elses_event_is_refused(bench: Bench) -> None:
    """It would never be in this user's answer."""
    position = sent(bench, user_id="v")
    bench.settled.settled_upto = 1
    answer = bench.http.get("/recommend/u", query_string={"after": position, "wait_ms": 0})
    assert answer.status_code == 400
    assert answer.json["errors"][0]["field"] == "after"


def test_what_can_not_be_looked_up_is_not_an_error(bench: Bench) -> None:
    """Reads never fail because Redis or Kafka is away."""
    position = sent(bench)
    bench.kafka.up = False
    assert asked(bench, position) == {"state": "pending"}
    bench.users.up = False
    assert asked(bench, position) == {"state": "unknown"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("after", ""),
        ("after", "view-events:0"),
        ("after", "no-topic-of-ours:0:1"),
        ("after", "view-events:0:-1"),
        ("wait_ms", "5001"),
        ("wait_ms", "x"),
    ],
)
def test_wrong_arguments_are_named(bench: Bench, name: str, value: str) -> None:
    """With what is allowed."""
    answer = bench.http.get("/recommend/u", query_string={"after": "view-events:0:0", name: value})
    assert answer.status_code == 400
    assert answer.json["errors"][0]["field"] == name


def test_recent_events(bench: Bench) -> None:
    """The newest first, with what they were and where they stand in Kafka."""
    bench.users.events["a/b"] = [("2:3:41:lamp:x", 1_700_000_000_123), ("0:0:7:sofa", 1_600_000_000_000)]
    answer = bench.http.get("/users/a/b/events").json
    assert answer == {
        "user_id": "a/b",
        "degraded": False,
        "events": [
            {
                "product_id": "lamp:x",
                "event_type": "purchase",
                "timestamp": "2023-11-14T22:13:20.123Z",
                "timestamp_ms": 1_700_000_000_123,
                "position": "purchase-events:3:41",
            },
            {
                "product_id": "sofa",
                "event_type": "view",
                "timestamp": "2020-09-13T12:26:40.000Z",
                "timestamp_ms": 1_600_000_000_000,
                "position": "view-events:0:7",
            },
        ],
    }
    assert len(bench.http.get("/users/a/b/events?n=1").json["events"]) == 1
    bench.users.events["many"] = [(f"0:0:{number}:sofa", number) for number in range(1_001)]
    assert len(bench.http.get("/users/many/events?n=1000").json["events"]) == 1_000
    assert bench.http.get("/users/nobody/events").json["events"] == []
    assert bench.http.get("/users/a/b/events?n=1001").status_code == 400
    bench.users.up = False
    assert bench.http.get("/users/a/b/events").json == {"user_id": "a/b", "degraded": True, "events": []}


def test_positions_read_back() -> None:
    """As they are written."""
    place = Placed("view-events", 3, 2**62)
    with pytest.raises(ValueError, match="view"):
        Placed.parse(str(place))  # no offset is as large
    assert Placed.parse("view-events:3:42") == Placed("view-events", 3, 42)
    assert json.dumps(Placed("t", 0, 1).as_dict()) == '{"topic": "t", "partition": 0, "offset": 1, "position": "t:0:1"}'
