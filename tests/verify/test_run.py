"""A whole verification: what it says at the end, and how it knows that the job has applied everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from confluent_kafka import KafkaError

from deploy.local.settings import Sizes
from reweigh.errors import CommandError
from reweigh.replay import FOR_THROUGHPUT
from reweigh.verify import report
from reweigh.verify.log import EventLog, Place, Records
from reweigh.verify.run import _STANDSTILL_SECONDS, Outcome, Plan, Verification
from reweigh.verify.stored import Stored
from tests.verify.test_compare import LOG, WEIGHTS, write_what_is_right
from tests.verify.test_recount import NUMBERS, PLACES, TYPES, batch


class StandInLog:
    """``LOG``, its first partition ending with a marker: the committed offset stays before that."""

    places = PLACES

    def __init__(self, records_left: bool) -> None:
        self._records_left = records_left
        self._lengths = {place: sum(index == at for at, *_ in LOG) for index, place in enumerate(PLACES)}
        self.looked: list[tuple[Place, int, int]] = []

    def refuse_unless_complete(self) -> None:
        """It is complete."""

    def ends(self) -> dict[Place, int]:
        """With the marker."""
        return {**self._lengths, PLACES[0]: self._lengths[PLACES[0]] + 1}

    def committed(self, _group: str) -> dict[Place, int]:
        """After the last records."""
        return self._lengths

    def read(self, begin: Mapping[Place, int], _end: Mapping[Place, int]) -> Iterator[Records]:
        """All of it, once."""
        if not begin:
            yield batch(LOG)

    def has_records(self, begin: Mapping[Place, int], end: Mapping[Place, int]) -> bool:
        """As it was told."""
        self.looked += [(place, begin[place], upto) for place, upto in end.items() if upto > begin[place]]
        return self._records_left


def verified(log: StandInLog, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Verify what Redis holds against it, without patience."""
    monkeypatch.setattr("reweigh.verify.run._STANDSTILL_SECONDS", 0.0)
    plan = Plan(metadata_numbers=NUMBERS, topics=TYPES.topics, group="job", window_seconds=1_000, patience_seconds=0.5)
    stored = Stored(redis_url)
    standing_in: Any = log
    try:
        return Verification(plan, standing_in, stored, lambda: (WEIGHTS, 3), lambda _what, _done, _total: None).run()
    finally:
        stored.close()


def test_a_job_between_two_checkpoints_does_not_stand_still() -> None:
    """Nor does one that counts anew; to look into the topics each time costs more than to wait."""
    of_a_rebuild = int(FOR_THROUGHPUT[FOR_THROUGHPUT.index("--checkpoint-interval-ms") + 1])
    assert max(Sizes().checkpoint_interval_ms, of_a_rebuild) < _STANDSTILL_SECONDS * 1000


def test_a_marker_is_nothing_to_wait_for(redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """No record lies between what is committed and the end; the sums have the id with two contents once."""
    write_what_is_right(client)
    client.hset("weights:in_force", mapping={"version": 3, "swept": 3})
    log = StandInLog(records_left=False)
    outcome = verified(log, redis_url, monkeypatch)
    assert log.looked == [(PLACES[0], 3, 4)]
    text = list(report.lines(outcome))
    assert text[0] == "8 records in = 6 applied + 1 duplicates + 1 dead letters"
    assert text[-1] == "0 differences"
    at = text.index("left to arrival: 1 ids were used with different contents, the first of them:")
    assert text[at + 1] == "  view-events:0:2, view-events:1:0"
    found = report.as_dict(outcome)
    assert found["records"] == {"read": 8, "applied": 6, "duplicates": 1, "dead": 1}
    assert found["ids_with_different_contents"] == 1
    assert found["first_ids_with_different_contents"] == [["view-events:0:2", "view-events:1:0"]]
    assert found["first_ids_repeated_beyond_the_window"] == []
    assert found["first_events_with_tags_of_a_changed_catalogue"] == []


def test_a_record_that_the_job_does_not_apply_is_waited_for(
    redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies between is looked at once while the job stands still; then patience ends."""
    log = StandInLog(records_left=True)
    with pytest.raises(CommandError, match="has applied 8 of 9 records"):
        verified(log, redis_url, monkeypatch)
    assert len(log.looked) == 1


class StandInConsumer:
    """A consumer of one partition with records at ``OFFSETS``, and a marker at its end, 5."""

    OFFSETS = (0, 1, 3)

    def __init__(self, options: Mapping[str, Any]) -> None:
        assert options["enable.partition.eof"]

    def assign(self, partitions: list[Any]) -> None:
        """Begin there."""
        (self._assigned,) = partitions

    def consume(self, _most: int, _seconds: float) -> list[Any]:
        """Everything, and where it ends."""
        end = KafkaError(KafkaError._PARTITION_EOF)
        left = [(offset, None) for offset in self.OFFSETS if offset >= self._assigned.offset]
        return [
            SimpleNamespace(
                topic=lambda: self._assigned.topic,
                partition=lambda: self._assigned.partition,
                offset=lambda offset=offset: offset,
                error=lambda error=error: error,
                timestamp=lambda: (1, 1),
                value=lambda: b"{}",
            )
            for offset, error in [*left, (5, end)]
        ]

    def incremental_unassign(self, partitions: list[Any]) -> None:
        """It gives no more."""

    def close(self) -> None:
        """Done."""


@pytest.mark.parametrize(("begin", "end", "wanted"), [(4, 5, False), (3, 5, True), (2, 3, False), (0, 5, True)])
def test_tells_a_record_from_a_marker(begin: int, end: int, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets without a record, at the end or before the next one, are none."""
    monkeypatch.setattr("confluent_kafka.Consumer", StandInConsumer)
    monkeypatch.setattr("confluent_kafka.admin.AdminClient", lambda _options: None)
    log = EventLog("nowhere:9092", ["view-events"])
    place = Place("view-events", 0)
    log.places = [place]
    assert log.has_records({place: begin}, {place: end}) is wanted
