"""What `reweigh verify` makes of a log, without servers: how it reads records, and what counts once."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reccore.errors import RejectedEvent
from reccore.event_types import EventTypes
from reccore.events import Event, parse_event
from reccore.metadata_numbers import ABSENT, MetadataNumbers
from reccore.row_cap import RowCap
from reweigh.verify.log import Place, Records
from reweigh.verify.recount import CatalogueTags, Recount
from tests.event_cases import CASES, RECORD_TIME_MS
from tests.unit.test_events import metadata, records

TYPES = EventTypes.from_settings({"EXTRA_EVENT_TYPES": "wishlist:wishlist-events"})
PLACES = [Place(topic, partition) for topic in TYPES.by_topic for partition in range(2)]
WINDOW_MS = 1_000_000
NUMBERS = ("duration_ms", "scroll")
Record = tuple[int, int, int, bytes | None]
"""Place (index into ``PLACES``), offset, Kafka's time, value."""


def batch(log: Sequence[Record]) -> Records:
    """A log as it is read from Kafka."""
    kinds = (pa.int32(), pa.int64(), pa.int64(), pa.binary())
    columns = [pa.array(column, kind) for column, kind in zip(zip(*log, strict=True), kinds, strict=True)]
    return Records(PLACES, pa.table(columns, names=["place", "spot", "arrived", "value"]))


@contextmanager
def recounted(
    log: Sequence[Record], applied: dict[int, int] | None = None, expiry_ms: int = 0, most: int = 1_000
) -> Iterator[Recount]:
    """Give the recount of a log of which the job has applied everything, or ``applied`` by place."""
    with TemporaryDirectory() as folder:
        recount = Recount(Path(folder), TYPES.topics, WINDOW_MS, expiry_ms, most, most, NUMBERS)
        recount.add(batch(log))
        recount.know_applied(PLACES, {place: (applied or {}).get(n, 10**9) for n, place in enumerate(PLACES)})
        try:
            yield recount
        finally:
            recount.close()


def verdicts(recount: Recount, count: int) -> list[Event | str]:
    """What was made of the first ``count`` offsets of the first partition, without event ids."""
    events = recount.database.sql("SELECT spot, user_id, product_id, type, time_ms, tags FROM events").fetchall()
    found: dict[int, Event | str] = {
        spot: Event(None, user, product, TYPES.names[kind], ms, None if tags is None else tuple(tags))
        for spot, user, product, kind, ms, tags in events
    }
    dead = recount.database.sql("SELECT spot, reason FROM dead").fetchall()
    assert not {spot for spot, _ in dead} & found.keys()
    return [({**found, **dict(dead)})[spot] for spot in range(count)]


def without_id(event: Event) -> Event:
    """An event as it is in the table of cases, without its id."""
    return Event(None, event.user_id, event.product_id, event.event_type, event.time_ms, event.tags)


def by_the_rule(raw: bytes | None) -> Event | str:
    """What the rule of the job and of the service says."""
    try:
        event = parse_event(raw, topic_type="view", record_time_ms=RECORD_TIME_MS, event_types=TYPES)
    except RejectedEvent as error:
        return str(error.reason)
    return without_id(event)


def test_reads_the_table_of_cases() -> None:
    """Every row of the table has its verdict, reason and values."""
    with recounted([(0, spot, RECORD_TIME_MS, case.raw) for spot, case in enumerate(CASES)]) as recount:
        found = verdicts(recount, len(CASES))
        plain = recount.database.sql("SELECT count(*) FROM plain").fetchall()
    wanted = [without_id(case.expected) if isinstance(case.expected, Event) else str(case.expected) for case in CASES]
    assert found == wanted
    assert plain[0][0] > 15, "both readers were at work"


@settings(max_examples=25, deadline=None)
@given(batch=st.lists(records, min_size=20, max_size=60), spaced=st.booleans())
def test_reads_any_record_as_the_rule_does(batch: list[dict[str, Any]], spaced: bool) -> None:
    """Two parsers that share nothing come to the same verdict, reason and values."""
    raws = [json.dumps(each, ensure_ascii=spaced, separators=None if spaced else (",", ":")) for each in batch]
    encoded = [raw.encode("utf-8", "surrogatepass") for raw in raws]
    with recounted([(0, spot, RECORD_TIME_MS, raw) for spot, raw in enumerate(encoded)]) as recount:
        assert verdicts(recount, len(encoded)) == [by_the_rule(raw) for raw in encoded]


@settings(max_examples=25, deadline=None)
@given(
    damages=st.lists(
        st.tuples(st.sampled_from(CASES), st.integers(0, 120), st.binary(max_size=6), st.integers(0, 3)), min_size=20
    )
)
def test_reads_damaged_records_as_the_rule_does(damages: list[tuple[Any, int, bytes, int]]) -> None:
    """Also for bytes that no producer meant."""
    raws = [(case.raw or b"")[:300][:at] + put + (case.raw or b"")[:300][at + cut :] for case, at, put, cut in damages]
    with recounted([(0, spot, RECORD_TIME_MS, raw) for spot, raw in enumerate(raws)]) as recount:
        assert verdicts(recount, len(raws)) == [by_the_rule(raw) for raw in raws]


def event(**members: object) -> bytes:
    """A record."""
    return json.dumps({"user_id": "u", "product_id": "p", "timestamp": 1_600_000_000_000, **members}).encode()


def wanted(recount: Recount) -> dict[tuple[str, str], tuple[int, int]]:
    """Views by user and tag: all that may count, and how many of them are unsure."""
    recount.count()
    rows = recount.database.sql("SELECT user_id, tag, c0, u0 FROM wanted_users").fetchall()
    return {(user, tag): (count, unsure) for user, tag, count, unsure in rows}


def items(recount: Recount) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """Views by user and product, how many of them are unsure, and sum and number of their durations."""
    recount.count()
    rows = recount.database.sql("SELECT user_id, tag, c0, u0, s0, k0 FROM wanted_items WHERE kept").fetchall()
    return {(user, product): tuple(figures) for user, product, *figures in rows}


def totals(recount: Recount) -> dict[str, tuple[int, int]]:
    """Each total, and how much of it is unsure."""
    rows = recount.database.sql("SELECT name, count, unsure FROM wanted_totals").fetchall()
    return {name: (count, unsure) for name, count, unsure in rows}


def in_all(recount: Recount) -> tuple[int, int, int]:
    """How many events there are, and the least and the most that may have been counted."""
    recount.count()
    ((events, least, most),) = recount.database.sql("SELECT events, least, most FROM wanted_in_all").fetchall()
    return events, least, most


def test_an_id_counts_once_and_its_absence_each_time() -> None:
    """Equal ids are one event, wherever they stand; records without one are events of their own."""
    log = [
        (0, 0, 1, event(event_id="a", tags=["t"])),
        (0, 1, 2, event(event_id="a", tags=["t"])),
        (1, 0, 3, event(event_id="a", tags=["t"])),
        (1, 1, 4, event(tags=["t"])),
        (1, 2, 5, event(tags=["t"])),
        (0, 2, 6, event(event_id="@view-events:1:1", tags=["t"])),
    ]
    with recounted(log) as recount:
        assert wanted(recount) == {("u", "t"): (4, 0)}
        assert totals(recount) == {"read:view-events": (6, 0), "applied:view": (4, 0)}


def test_events_are_counted_by_product_too() -> None:
    """With sum and number of what their metadata say; of an id with two contents it is open which was counted."""
    log = [
        (0, 0, 1, event(tags=["t"], metadata={"duration_ms": 1.5})),
        (0, 1, 2, event(tags=[], metadata={"duration_ms": 3, "page": "home"})),
        (0, 2, 2, event(metadata={"duration_ms": "long"})),
        (0, 3, 2, event(product_id="q", metadata={"deep": {"duration_ms": [7]}, "duration_ms": 2})),
        (0, 4, 2, event(product_id="r", event_id="a", metadata={"duration_ms": 1})),
        (1, 0, 2, event(product_id="r", event_id="a", metadata={"duration_ms": 2})),
    ]
    with recounted(log) as recount:
        assert items(recount) == {
            ("u", "p"): (3, 0, 4_500, 2),
            ("u", "q"): (1, 0, 2_000, 1),
            ("u", "r"): (2, 2, 3_000, 2),
        }
    with recounted(log, most=1) as recount:
        assert items(recount) == {("u", "p"): (3, 0, 4_500, 2)}


@settings(max_examples=25, deadline=None)
@given(batch=st.lists(metadata, min_size=20, max_size=40))
def test_reads_numbers_of_metadata_as_the_rule_does(batch: list[dict[str, Any]]) -> None:
    """Both of its readers."""
    raws = [event(metadata=each) for each in batch]
    with recounted([(0, spot, RECORD_TIME_MS, raw) for spot, raw in enumerate(raws)]) as recount:
        found = recount.database.sql("SELECT n0, n1 FROM events ORDER BY spot").fetchall()
    wanted = [MetadataNumbers(NUMBERS).read(each) for each in batch]
    assert [tuple(ABSENT if each is None else each for each in row) for row in found] == wanted


def test_the_first_of_different_contents_counts_where_there_is_a_first() -> None:
    """Within a partition the lowest offset is read first; between partitions nobody knows."""
    same_partition = [(0, 3, 1, event(event_id="a", tags=["late"])), (0, 2, 9, event(event_id="a", tags=["first"]))]
    with recounted(same_partition) as recount:
        assert wanted(recount) == {("u", "first"): (1, 0)}
    apart = [
        (0, 0, 1, event(event_id="a", tags=["one"])),
        (0, 1, 1, event(event_id="a", tags=["never"])),
        (1, 0, 1, event(event_id="a", tags=["other"])),
        (0, 2, 1, event(event_id="b", tags=["one"])),
    ]
    with recounted(apart) as recount:
        assert wanted(recount) == {("u", "one"): (2, 1), ("u", "other"): (1, 1)}
        assert totals(recount)["applied:view"] == (3, 2)


def test_a_repeat_beyond_the_window_is_left_open() -> None:
    """It may count again: the job has forgotten its id by then, if its clock agrees with Kafka's."""
    log = [(0, 0, 0, event(event_id="a", tags=["t"])), (0, 1, WINDOW_MS + 1, event(event_id="a", tags=["t"]))]
    with recounted(log) as recount:
        assert wanted(recount) == {("u", "t"): (2, 1)}
    with recounted([log[0], (0, 1, WINDOW_MS, log[1][3])]) as recount:
        assert wanted(recount) == {("u", "t"): (1, 0)}


def test_what_may_not_have_been_applied_yet_is_unsure() -> None:
    """Of records beyond the applied offsets only those are sure whose event came before."""
    log = [
        (0, 0, 0, event(event_id="a", tags=["t"])),
        (0, 1, 0, event(event_id="b", tags=["t"])),
        (0, 2, 0, event(event_id="a", tags=["t"])),
        (0, 3, 0, b"nonsense"),
    ]
    with recounted(log, {0: 1}) as recount:
        assert wanted(recount) == {("u", "t"): (2, 1)}
        assert totals(recount) == {"read:view-events": (4, 3), "applied:view": (2, 1), "dead:not_json": (1, 1)}


def test_events_in_all() -> None:
    """An id is one event whatever its contents; repeats beyond the window and late events leave the sum open."""
    log = [
        (0, 0, 0, event(event_id="a", tags=["one"])),
        (1, 0, 0, event(event_id="a", tags=["other"])),
        (2, 0, 0, event(event_id="a")),
        (0, 1, 0, event(event_id="b")),
        (0, 2, 1, event(event_id="b")),
        (0, 3, 0, event()),
        (0, 4, 0, b"nonsense"),
    ]
    with recounted(log) as recount:
        assert in_all(recount) == (3, 3, 3)
    with recounted(log, {0: 0, 1: 1}) as recount:
        assert in_all(recount) == (3, 1, 3)
    with recounted([*log, (1, 1, WINDOW_MS + 1, event(event_id="b"))]) as recount:
        assert in_all(recount) == (3, 3, 5)
    with recounted([(0, 0, 0, b"nonsense")]) as recount:
        assert in_all(recount) == (0, 0, 0)


def test_tags_of_the_catalogue() -> None:
    """Events without tags take the catalogue's; which they took is open if it has changed since they came."""
    log = [(0, 0, 100, event()), (0, 1, 300, event()), (0, 2, 100, event(product_id="bare"))]
    with recounted(log) as recount:
        recount.know_catalogue({"p": CatalogueTags(["x", "y"], 200)})
        assert wanted(recount) == {("u", "x"): (2, 1), ("u", "y"): (2, 1)}
        assert totals(recount)["untagged"] == (2, 1)
    with recounted(log) as recount:
        recount.know_catalogue({"p": CatalogueTags(["x"], 50)})
        assert wanted(recount) == {("u", "x"): (2, 0)}
        assert totals(recount)["untagged"] == (1, 0)


def test_a_tag_that_may_have_been_forgotten_is_unsure() -> None:
    """With an expiry, a pause of that length, up to now too, leaves open what was counted before it."""
    log = [(0, 0, 0, event(tags=["t"])), (0, 1, 10, event(tags=["t"]))]
    with recounted(log, expiry_ms=5) as recount:
        assert wanted(recount) == {("u", "t"): (2, 2)}
    with recounted(log, expiry_ms=10**15) as recount:
        assert wanted(recount) == {("u", "t"): (2, 0)}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=25), st.data())
def test_which_tags_the_cap_leaves_depends_on_what_was_applied(tags: list[str], data: st.DataObject) -> None:
    """Whatever had been applied by then, what is sure holds; at rest all is sure."""
    log: list[Record] = [(0, spot, 1, event(tags=[tag])) for spot, tag in enumerate(tags)]
    sure = data.draw(st.integers(0, len(tags)))
    cap = RowCap(most=3)

    def stored(upto: int) -> set[str]:
        rows = {tag: f"{count},0,0,0;1" for tag, count in Counter(tags[:upto]).items()}
        return rows.keys() - set(cap.leaving(rows, now=1.0)[1])

    with recounted(log, {0: sure}, most=3) as recount:
        recount.count()
        found = recount.database.sql("SELECT tag, kept, may_miss, u0 < c0 FROM wanted_users").fetchall()
    assert {tag for tag, kept, *_ in found if kept} == stored(len(tags))
    for upto in range(sure, len(tags) + 1):
        for written_from in range(sure, upto + 1):  # rows just written, what is beyond the cap not yet removed
            assert stored(written_from) | set(tags[written_from:upto]) <= {tag for tag, *_ in found}
        assert stored(upto) >= {tag for tag, _, may_miss, begun in found if begun and not may_miss}
    if sure == len(tags):
        assert {tag for tag, *_ in found} == stored(sure)
        assert not any(may_miss for _, _, may_miss, _ in found)


def test_events_that_may_carry_any_tag_leave_the_cap_open() -> None:
    """They can lift any tag, also such as no record names."""
    log = [(0, spot, 1, event(tags=[tag])) for spot, tag in enumerate("aaabbbcd")]
    with recounted([*log, (0, 8, 1, event())], most=3) as recount:
        recount.know_catalogue({"p": CatalogueTags(["x"], None)})
        recount.count()
        found = recount.database.sql("SELECT tag, kept, may_miss FROM wanted_users WHERE tag <> 'x'").fetchall()
    assert sorted(found) == [("a", True, False), ("b", True, False), ("c", True, True), ("d", False, True)]


@pytest.mark.parametrize("seed", range(3))
def test_order_within_the_log_changes_nothing(seed: int) -> None:
    """However records are spread over partitions and offsets, the same events are counted."""
    chance = random.Random(seed)
    values = [
        event(event_id=str(n % 70), user_id=f"u{n % 7}", tags=[f"t{n % 5}"], timestamp=n % 70) for n in range(150)
    ]
    outcomes = []
    for _ in range(3):
        chance.shuffle(values)
        log: list[Record] = [(n % 2, n // 2, 1, value) for n, value in enumerate(values)]
        with recounted(log) as recount:
            outcomes.append((wanted(recount), totals(recount)))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0][1]["applied:view"] == (70, 0)
