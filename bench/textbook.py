"""The profile job beside the textbook job, on a smaller sample: the same events, both jobs warm."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from bench import synthetic
from bench.comparison import Comparison, compare
from bench.flink_runs import profile_job, textbook_job
from bench.plain_loop_runs import DATABASE, run_plain_loop
from bench.report import Report, median, significant, spread
from bench.workbench import Workbench
from bench.written import plain_writes, profile_writes, totals, wait_for_last_write

PARTS = ("zookeeper", "kafka", "redis", "flink")
RECORDS, RECORDS_QUICK = 20_000, 6_000
_SEEDS = {"warm-up": 1_000, "profile job": 1_100, "textbook job": 1_200}
_HSETS_AN_EVENT = 2 * synthetic.TAGS_AN_EVENT  # score and counts of each tag


def measure(bench: Workbench) -> Report:
    """Let each job digest what is in the topics; then, at rest, send a burst and wait until all of it is written."""
    size = bench.size("records", RECORDS, RECORDS_QUICK)
    rounds = 1 if bench.quick else bench.rounds
    synthetic.produce(bench.kafka, size, _SEEDS["warm-up"])
    known = run_plain_loop(bench)
    bench.empty_redis()
    with profile_job(bench), bench.redis() as client:
        ours = _bursts(bench, client, _PROFILE, size, rounds, known.events)
        ours_compared = _compared(bench)
    known = run_plain_loop(bench)
    bench.empty_redis()
    with bench.redis() as client:
        client.config_resetstat()
    with textbook_job(bench, synthetic.TOPICS), bench.redis() as client:
        theirs = _bursts(bench, client, _TEXTBOOK, size, rounds, known.events)
        theirs_compared = _compared(bench)
    return _report(size, ours, theirs, ours_compared, theirs_compared)


def _applied(client: Any) -> int:
    return sum(totals(client).applied.values())


def _written_singly(client: Any) -> int:
    return plain_writes(client) // _HSETS_AN_EVENT


@dataclass(frozen=True, slots=True)
class _Contender:
    """A job: its name, how many distinct events it has counted, and what moves when it writes a profile."""

    name: str
    counted: Callable[[Any], int]
    written: Callable[[Any], int]


_PROFILE = _Contender("profile job", _applied, profile_writes)
_TEXTBOOK = _Contender("textbook job", _written_singly, plain_writes)


def _bursts(bench: Workbench, client: Any, job: _Contender, size: int, rounds: int, events: int) -> list[float]:
    """Give records a second for each burst, after the job has caught up with ``events`` distinct events."""

    def last_write(wanted: int) -> float:
        return wait_for_last_write(client, lambda: job.counted(client) >= wanted, written=job.written)

    bench.tell(f"{job.name}: digesting {events:,} events to warm up")
    last_write(events)
    rates = []
    for number in range(rounds):
        records = list(synthetic.events(size, _SEEDS[job.name] + number))
        events += synthetic.distinct(records)
        began = time.perf_counter()
        synthetic.send(bench.kafka, records)
        ended = last_write(events)
        rates.append(size / (ended - began))
        bench.tell(f"{job.name}: {rates[-1]:,.0f} records/s")
    return rates


def _compared(bench: Workbench) -> Comparison:
    """Compare what a job has written with what the plain loop makes of the same topics."""
    run_plain_loop(bench)
    with bench.redis() as found, bench.redis(DATABASE) as wanted:
        return compare(found, wanted)


def _report(size: int, ours: list[float], theirs: list[float], first: Comparison, second: Comparison) -> Report:
    ratio = median(ours) / median(theirs)
    return Report(
        title=f"textbook: {size:,} records in a burst, rounds: {len(ours)}",
        columns=("", "records/s (median)", "lowest–highest"),
        rows=(
            ("textbook job: KeyedProcessFunction, MapState, process mode", significant(median(theirs)), spread(theirs)),
            ("profile job", significant(median(ours)), spread(ours)),
            ("ratio of the medians", significant(ratio), None),
        ),
        notes=(
            "start-up left out: each job runs and has digested everything that was in the topics (the textbook job, "
            "which comes second, more than the profile job); then a burst is sent at once, and the clock runs from "
            "before the first record is sent to the last write of a profile",
            f"each compared whole with the plain loop: profile job {first.differences} differences among "
            f"{first.scores:,} scores, textbook job {second.differences} among {second.scores:,}",
            "both: two slots, RocksDB, a checkpoint every five seconds; bundles and buffers of the textbook job are "
            "Flink's defaults",
        ),
        data={
            "profile_records_a_second": ours,
            "textbook_records_a_second": theirs,
            "median_ratio": ratio,
            "comparisons": {"profile": asdict(first), "textbook": asdict(second)},
        },
    )
