"""The log out of an archive: counted, it is what the topics themselves would be counted as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from reweigh.archive.log import Log
from reweigh.archive.records import Records as Read
from reweigh.archive.store import LocalStore
from reweigh.errors import CommandError
from reweigh.verify.archived import ArchivedLog
from reweigh.verify.log import Place, Records
from reweigh.verify.recount import Recount
from tests.archive.making import CLUSTER, writing
from tests.event_cases import CASES
from tests.verify.test_recount import PLACES, TYPES, WINDOW_MS, Record, batch, event

ARRIVED_MS = 1_800_000_000_000
ODD: list[bytes] = [
    event(user_id="ann", timestamp=1, tags=['q"uote', "é", "a", "a"]),
    event(user_id="ann", timestamp="1970-01-01T00:00:00.001Z", event_id="early"),
    event(user_id=7, product_id=8, timestamp=99_999_999_999, tags=[]),
    event(user_id="far", timestamp="9999-12-31T23:59:59.999Z"),
    event(user_id="ann", event_id="twice", tags=["x"]),
    event(user_id="ann", event_id="twice", tags=["x"]),
    event(user_id="b", metadata={"a": [1]}, session_id="s"),
    b"[]",
]
VALUES: list[bytes | None] = [*ODD, *(case.raw for case in CASES)]
ARCHIVED = len(VALUES) - 5
"""So many of them; the last ones are in Kafka only."""


class Topics:
    """Kafka with ``VALUES`` in its first partition, of which the first ``begin`` are gone."""

    places = PLACES
    cluster = CLUSTER

    def __init__(self, begin: int) -> None:
        self._begin = begin

    def ends(self) -> dict[Place, int]:
        """As many as there were."""
        return {place: len(VALUES) if place == PLACES[0] else 0 for place in PLACES}

    def begins(self) -> dict[Place, int]:
        """What is there yet."""
        return {place: self._begin if place == PLACES[0] else 0 for place in PLACES}

    def read(self, begin: Mapping[Place, int], end: Mapping[Place, int]) -> Iterator[Records]:
        """As asked for."""
        first, last = begin.get(PLACES[0], 0), end[PLACES[0]]
        assert first >= self._begin
        if last > first:
            yield batch([row(spot) for spot in range(first, last)])


def row(spot: int) -> Record:
    """One record."""
    return 0, spot, ARRIVED_MS, VALUES[spot]


def archived(folder: Path, topics: Any) -> ArchivedLog:
    """The first records in an archive, the rest in Kafka."""
    store = LocalStore(folder / "archive")
    with writing(store, folder / "state") as writer:
        writer.take(Read([PLACES[0].topic] * ARCHIVED, [0] * ARCHIVED, list(range(ARCHIVED)), [ARRIVED_MS] * ARCHIVED,
                         VALUES[:ARCHIVED]))  # fmt: skip
        writer.flush()
    return ArchivedLog(topics, store, Log(store).read())


def counted(batches: Iterator[Records]) -> list[tuple[Any, ...]]:
    """What a recount makes of records."""
    with TemporaryDirectory() as folder:
        recount = Recount(Path(folder), TYPES.topics, WINDOW_MS)
        for each in batches:
            recount.add(each)
        recount.know_applied(PLACES, dict.fromkeys(PLACES, 10**9))
        recount.count()
        found = recount.database.sql(
            "SELECT place, spot, arrived, user_id, product_id, type, time_ms, tags, unsure FROM counted ORDER BY ALL"
        ).fetchall()
        recount.close()
    return found


def test_counts_as_the_topics_do(tmp_path: Path) -> None:
    """Odd times and names, ids and none, repeats and what is no event."""
    topics = Topics(begin=ARCHIVED)
    log = archived(tmp_path, topics)
    log.refuse_unless_complete()
    found = counted(log.read({}, log.ends()))
    assert found == counted(iter([batch([row(spot) for spot in range(len(VALUES))])]))
    assert len(found) > 20


def test_reads_the_archive_once(tmp_path: Path) -> None:
    """What is read later begins where the reading before ended."""
    log = archived(tmp_path, Topics(begin=0))
    ends = log.ends()
    assert sum(len(each.table) for each in log.read(ends, {**ends, PLACES[0]: len(VALUES)})) == 0
    assert sum(len(each.table) for each in log.read({PLACES[0]: len(VALUES) - 1}, ends)) == 1


def test_a_gap_between_archive_and_kafka_is_refused(tmp_path: Path) -> None:
    """Nothing can be counted then."""
    with pytest.raises(CommandError, match="Kafka begins with offset"):
        archived(tmp_path, Topics(begin=ARCHIVED + 1)).refuse_unless_complete()


def test_an_archive_of_other_topics_is_refused(tmp_path: Path) -> None:
    """It reaches further than Kafka does."""
    topics: Any = Topics(begin=0)
    topics.ends = lambda: dict.fromkeys(PLACES, 3)
    with pytest.raises(CommandError, match="not of these topics"):
        archived(tmp_path, topics).ends()


def test_an_archive_of_another_kafka_is_refused(tmp_path: Path) -> None:
    """Its offsets would be taken for those of this one."""
    topics: Any = Topics(begin=0)
    topics.cluster = "another"
    with pytest.raises(CommandError, match="is of another Kafka, some-cluster"):
        archived(tmp_path, topics).ends()


def test_no_archive(tmp_path: Path) -> None:
    """That is said before anything is read."""
    store, topics = LocalStore(tmp_path / "none"), Topics(begin=0)
    given: Any = topics
    with pytest.raises(CommandError, match="there is no archive in"):
        ArchivedLog(given, store, Log(store).read())
