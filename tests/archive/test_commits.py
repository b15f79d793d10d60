"""Whatever step of a commit is cut, what is visible afterwards is the ledger, each event once."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from reweigh.archive.as_records import EVENT_COLUMNS, selected
from reweigh.archive.compaction import Compactor
from reweigh.archive.errors import ArchiveChanged, ArchiveError
from reweigh.archive.log import Log
from reweigh.archive.reading import read_day
from reweigh.archive.records import RecordReader
from reweigh.archive.schema import RATINGS
from reweigh.archive.store import Store
from reweigh.archive.writer import Writer
from tests.archive.making import (
    DAY_MS,
    EVENT_READER,
    MEMORY,
    RATING_READER,
    Cut,
    Failing,
    Place,
    event,
    ids_of,
    records,
    writing,
)

BATCHES = [
    [event("a", 0), event("b", DAY_MS), b"no event", event(None, 1)],
    [event("a", 0), event("c", 2), event("c", DAY_MS), event("d", 3)],
]
LEDGER = Counter({"a": 1, "b": 1, "@view-events:0:3": 1, "c": 1, "d": 1})
MOST_CHANGES = 40


READERS: dict[str, RecordReader[Any]] = {"events": EVENT_READER, "ratings": RATING_READER}


@pytest.fixture(params=["", MEMORY], ids=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each kind of store."""
    return Place(tmp_path, request.param)


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> RecordReader[Any]:
    """Each kind of records; the same are events and ratings."""
    return READERS[request.param]


def feed(writer: Writer) -> None:
    """Give the writer what it has not archived yet, a flush for each batch; as its process does, from its positions."""
    first = 0
    for batch in BATCHES:
        position = writer.positions.get(("view-events", 0), 0)
        if position <= first:
            writer.take(records(batch, offset=first))
            writer.flush()
        first += len(batch)


def work(store: Store, state: Path, reader: RecordReader[Any]) -> None:
    """All that ever happens: two flushes, then a compaction."""
    with writing(store, state, reader=reader) as writer:
        feed(writer)
    list(Compactor(store, lambda: 1_900_000_000.0).compact())


@pytest.mark.parametrize("after", [False, True], ids=["not-done", "done-unknown"])
def test_killed_at_every_step(place: Place, after: bool, reader: RecordReader[Any]) -> None:
    """A process that dies at any change of the store leaves nothing that its successor does not put right."""
    _is_put_right_after_each_step(place, after, reader)


def test_killed_at_every_step_on_s3(s3: str, tmp_path: Path) -> None:
    """The same, when each change is done and the process dies before it knows."""
    _is_put_right_after_each_step(Place(tmp_path, s3), True, EVENT_READER)


def _is_put_right_after_each_step(place: Place, after: bool, reader: RecordReader[Any]) -> None:
    for step in range(1, MOST_CHANGES):
        place.forget()
        here = place.beside(f"at-{step}")
        failing = Failing(here.store(), step, after=after)
        with suppress(Cut):
            work(failing, here.state, reader)
            break
        assert max(ids_of(here.rows()).values(), default=0) <= 2, "only an exchange may show an event twice"
        work(here.store(), here.state, reader)
        assert ids_of(here.rows()) == LEDGER, step
        _matches_its_log(here.store(), here)
    assert 8 < step < MOST_CHANGES - 1, "every step was cut, and then none"


@pytest.mark.parametrize("after", [False, True], ids=["not-done", "done-unknown"])
def test_refused_at_every_step(place: Place, after: bool, reader: RecordReader[Any]) -> None:
    """A process that is refused once, at any step, tries the same again and goes on."""
    for step in range(1, MOST_CHANGES):
        place.forget()
        here = place.beside(f"at-{step}")
        failing = Failing(here.store(), step, after=after, for_good=False)
        with writing(failing, here.state, reader=reader) as writer:
            first = 0
            for batch in BATCHES:
                writer.take(records(batch, offset=first))
                first += len(batch)
                try:
                    writer.flush()
                except Cut:
                    writer.flush()
        assert ids_of(here.rows()) == LEDGER, step
        last = writer.snapshot.last
        assert last is not None
        assert (last.totals.read, last.totals.archived, last.totals.duplicates) == (8, 5, 2)
        assert last.totals.dead == {"not_json": 1}
        _matches_its_log(here.store(), here)
        if failing.changes < step:
            break
    assert 8 < step < MOST_CHANGES - 1, "every step was refused, and then none"


def _matches_its_log(store: Store, place: Place) -> None:
    """The log names exactly the files that are visible, and nothing is left of what was in progress."""
    snapshot = Log(store).read()
    assert sum(each.rows for each in snapshot.files.values()) == LEDGER.total()
    assert all(store.exists(path) for path in snapshot.files)
    assert len(place.rows()) == LEDGER.total()


def test_folded_log(place: Place) -> None:
    """A long log is folded; a start reads the checkpoint, and what follows it."""
    with writing(place.store(), place.state) as writer:
        for number in range(60):
            writer.take(records([event(f"e{number}", number * DAY_MS)], offset=number))
            writer.flush()
    names = place.store().names("_log")
    assert sum(name.endswith(".checkpoint.json") for name in names) == 1
    assert len(names) < 20
    with writing(place.store(), place.state) as writer:
        assert writer.positions == {("view-events", 0): 60}
        assert len(writer.snapshot.files) == 60
        assert writer.take(records([event("e7")], offset=60)).duplicates == 1


def test_a_lost_index_is_rebuilt(place: Place, tmp_path: Path) -> None:
    """The index is a cache: without it, or with an older one, the archive itself says what it holds."""
    with writing(place.store(), place.state) as writer:
        feed(writer)
    with writing(place.store(), tmp_path / "elsewhere") as writer:
        assert writer.take(records([event("a"), event("d"), event("e")], offset=9)).duplicates == 2


def test_what_was_never_committed_is_not_known(place: Place) -> None:
    """Ids that the index learned for a commit that never came are forgotten: their events come again."""
    failing = Failing(place.store(), 2)  # the files are staged, the manifest fails
    with writing(failing, place.state) as writer:
        writer.take(records([event("a")]))
        with pytest.raises(Cut):
            writer.flush()
    with writing(place.store(), place.state) as writer:
        assert writer.take(records([event("a")])).archived == 1


def test_window(place: Place) -> None:
    """An id counts again when its record arrives later than the window after the one that counted."""
    week = 7 * DAY_MS
    with writing(place.store(), place.state) as writer:
        for offset, (arrived, archived) in enumerate([(0, 1), (week, 0), (week + 1, 1), (2 * week + 1, 0), (5, 0)]):
            assert writer.take(records([event("a")], offset=offset, arrived_ms=arrived)).archived == archived, offset
            if offset % 2:
                writer.flush()


def test_compaction_beside_a_writer(place: Place) -> None:
    """A compaction takes the writer's next number; the writer takes the one after."""
    with writing(place.store(), place.state) as writer:
        for number in range(4):
            writer.take(records([event(f"e{number}", number)], offset=number))
            writer.flush()
            if number in (1, 3):
                (merged,) = Compactor(place.store(), lambda: 1_900_000_000.0).compact()
                assert merged.files == 2 + (number == 3)
        writer.take(records([event("last"), event("e1")], offset=4))
        writer.flush()
    assert ids_of(place.rows()) == Counter(["e0", "e1", "e2", "e3", "last"])
    snapshot = Log(place.store()).read()
    assert [each.rows for each in snapshot.files.values()] == [4, 1]


def test_what_does_not_fit_in_memory_is_not_merged_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the bytes before compression; a file that alone has too many stays out, and the others are merged."""
    texts = ["x" * size for size in (20, 20, 20, 90_000, 20, 20)]
    with writing(place.store(), place.state) as writer:
        for number, text in enumerate(texts):
            writer.take(records([event(f"e{number}", number, session_id=text)], offset=number))
            writer.flush()
    monkeypatch.setattr("reweigh.archive.compaction.MOST_BYTES", 80_000)
    found = list(Compactor(place.store(), lambda: 1_900_000_000.0).compact())
    assert [(each.files, each.rows) for each in found] == [(3, 3), (2, 2)]
    assert ids_of(place.rows()) == Counter(f"e{number}" for number in range(6))


def test_a_second_writer_is_refused_on_a_disk(tmp_path: Path) -> None:
    """By a lock."""
    disk = Place(tmp_path)
    with (
        writing(disk.store(), disk.state),
        pytest.raises(ArchiveError, match="another process"),
        writing(disk.store(), disk.state),
    ):
        pass


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_a_second_writer_is_refused_elsewhere(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """By the number of its first commit, which is taken."""
    place = Place(tmp_path, MEMORY if kind == "memory" else request.getfixturevalue("s3"))
    with writing(place.store(), place.state) as first, writing(place.store(), tmp_path / "other") as second:
        for writer in (first, second):
            writer.take(records([event("a")]))
        first.flush()
        with pytest.raises(ArchiveChanged):
            second.flush()
    assert ids_of(place.rows()) == Counter("a")


def test_files_without_a_log_are_refused(place: Place) -> None:
    """Whoever removed the log would have every event twice."""
    place.store().write("year=2020/month=01/day=01/events-x.parquet", b"")
    with pytest.raises(ArchiveError, match="no log"), writing(place.store(), place.state):
        pass


def test_what_holds_something_else_is_refused(place: Place) -> None:
    """Events are not written among ratings, nor read or sent as such."""
    with writing(place.store(), place.state, reader=RATING_READER) as writer:
        feed(writer)
    with pytest.raises(ArchiveError, match="ratings"), writing(place.store(), place.state):
        pass
    with pytest.raises(ArchiveError, match="ratings"):
        read_day(place.store(), date(1970, 1, 1))
    with duckdb.connect() as database, pytest.raises(ArchiveError, match="ratings"):
        list(selected(place.store(), Log(place.store()).read(), database, EVENT_COLUMNS, "FROM archived"))
    rows = read_day(place.store(), date(1972, 9, 27), RATINGS, columns=["user_id", "item_id", "rating", "event_id"])
    assert rows.to_pylist() == [{"user_id": "u", "item_id": "p", "rating": 4.5, "event_id": "b"}]


def test_another_cluster_is_refused(place: Place) -> None:
    """Offsets of another Kafka mean nothing."""
    with writing(place.store(), place.state) as writer:
        feed(writer)
    with pytest.raises(ArchiveError, match="cluster"), writing(place.store(), place.state, cluster="another"):
        pass


def test_an_archive_that_was_removed_begins_anew(tmp_path: Path) -> None:
    """The archive is the only truth: without it nothing is archived, whatever the index says."""
    place = Place(tmp_path)
    with writing(place.store(), place.state) as writer:
        feed(writer)
        place.folder.rename(tmp_path / "away")
        writer.take(records([event("x")], offset=9))
        with pytest.raises(ArchiveChanged):
            writer.flush()
    with writing(place.store(), place.state) as writer:
        assert writer.positions == {}
        feed(writer)
    assert ids_of(place.rows()) == LEDGER


def test_snapshots_are_whole_during_an_exchange(place: Place) -> None:
    """Between any two steps of a compaction the package's own reader sees each event once."""
    with writing(place.store(), place.state) as writer:
        for number in range(3):
            writer.take(records([event(f"e{number}", number)], offset=number))
            writer.flush()
    for step in range(1, 12):
        with suppress(Cut):
            list(Compactor(Failing(place.store(), step), lambda: 1_900_000_000.0).compact())
        assert read_day(place.store(), date(1970, 1, 1))["event_id"].to_pylist() == ["e0", "e1", "e2"], step
