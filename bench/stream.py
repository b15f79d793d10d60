"""Events a second of the profile job, beside the plain loop that reads the same topics."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import synthetic
from bench.comparison import Comparison, compare
from bench.flink_runs import profile_job
from bench.plain_loop_runs import DATABASE, LoopRun, run_plain_loop
from bench.report import Cell, Report, median, significant, spread
from bench.usage import Usage, cpu_seconds_between, usage_of
from bench.workbench import Workbench
from bench.written import POLL_SECONDS, totals, wait_for_last_write

PARTS = ("zookeeper", "kafka", "redis", "flink")
RECORDS, RECORDS_QUICK = 3_000_000, 200_000
_SEED = 1


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of the job, its start-up left out: from ``counted_before`` records on to the last write."""

    records: int
    counted_before: int
    seconds: float
    cpu_seconds: dict[str, float]
    resident_bytes: dict[str, int]

    @property
    def rate(self) -> float:
        """Records a second, not-a-number when all were counted before the first look."""
        return (self.records - self.counted_before) / self.seconds if self.counted_before < self.records else math.nan

    @property
    def cpu_seconds_per_million(self) -> float:
        """Processor seconds of the whole stack for a million records."""
        measured = self.records - self.counted_before
        return sum(self.cpu_seconds.values()) / measured * 1e6 if measured else math.nan


@dataclass(slots=True)
class _Rounds:
    loops: list[LoopRun] = field(default_factory=list)
    loop_servers_cpu: list[float] = field(default_factory=list)
    jobs: list[JobRun] = field(default_factory=list)
    comparison: Comparison | None = None


def measure(bench: Workbench) -> Report:
    """Produce once; then in each round the loop and the job, turn and turn about, each into an empty Redis."""
    records = bench.size("records", RECORDS, RECORDS_QUICK)
    bench.tell(f"producing {records:,} records")
    synthetic.produce(bench.kafka, records, _SEED)
    rounds = _Rounds()
    for number in range(1 if bench.quick else bench.rounds):
        bench.empty_redis()
        turns = (_loop, _job) if number % 2 == 0 else (_job, _loop)
        for turn in turns:
            turn(bench, rounds)
        if rounds.comparison is None:
            rounds.comparison = _compared(bench)
    return _report(rounds)


def _loop(bench: Workbench, rounds: _Rounds) -> None:
    before = usage_of(bench.stack)
    run = run_plain_loop(bench)
    used = cpu_seconds_between(before, usage_of(bench.stack))
    rounds.loops.append(run)
    rounds.loop_servers_cpu.append(used.get("kafka", 0.0) + used.get("redis", 0.0))
    bench.tell(f"plain loop: {run.rate:,.0f} records/s")


def _job(bench: Workbench, rounds: _Rounds) -> None:
    known = rounds.loops[0]
    with profile_job(bench):
        run = run_of_job(bench, known.records, known.events)
    rounds.jobs.append(run)
    bench.tell(f"profile job: {run.rate:,.0f} records/s")


def run_of_job(bench: Workbench, records: int, events: int) -> JobRun:
    """Time a job that has just been submitted, from the first totals in Redis to its last write.

    Args:
        bench: Where it runs.
        records: How many records the topics hold.
        events: How many distinct events these are.
    """
    with bench.redis() as client:
        counted = bench.until("the job's first totals", lambda: totals(client).records_in, pause=POLL_SECONDS)
        # Totals are written now and then, so only what has just been written tells what is counted at this moment.
        began, before = time.perf_counter(), usage_of(bench.stack)

        def complete() -> bool:
            found = totals(client)
            return found.records_in >= records and sum(found.applied.values()) >= events

        ended = wait_for_last_write(client, complete)
    after = usage_of(bench.stack)
    return JobRun(records, counted, ended - began, cpu_seconds_between(before, after), _resident(after))


def _resident(usage: dict[str, Usage]) -> dict[str, int]:
    return {part: each.resident_bytes for part, each in sorted(usage.items())}


def _compared(bench: Workbench) -> Comparison:
    with bench.redis() as ours, bench.redis(DATABASE) as theirs:
        comparison = compare(ours, theirs)
    bench.tell(f"compared {comparison.users:,} users, {comparison.scores:,} scores: {comparison.differences} differ")
    return comparison


def _report(rounds: _Rounds) -> Report:
    loops, jobs, comparison = rounds.loops, rounds.jobs, rounds.comparison
    assert comparison is not None
    ratios = [job.rate / loop.rate for job, loop in zip(jobs, loops, strict=True)]
    servers = zip(loops, rounds.loop_servers_cpu, strict=True)
    loop_cpu = [(loop.cpu_seconds + cpu) / loop.records * 1e6 for loop, cpu in servers]
    rows: tuple[tuple[Cell, ...], ...] = (
        _row("plain loop, one process", [loop.rate for loop in loops], loop_cpu),
        row_of_jobs("profile job", jobs),
        ("job ÷ loop, by round", significant(median(ratios)), spread(ratios, 2), None),
    )
    parts = {part: median([job.cpu_seconds[part] for job in jobs if part in job.cpu_seconds]) for part in _parts(jobs)}
    per_million = 1e6 / max(1.0, median([float(job.records - job.counted_before) for job in jobs]))
    split = ", ".join(f"{part} {seconds * per_million:.1f}" for part, seconds in parts.items() if seconds > 0)
    return Report(
        title=f"stream: {loops[0].records:,} records of two tags each, rounds: {len(jobs)}",
        columns=("", "records/s (median)", "lowest–highest", "CPU s per million"),
        rows=rows,
        notes=(
            f"the whole of Redis, {comparison.users:,} users and {comparison.scores:,} scores with their counts, "
            f"job against loop: {comparison.differences} differences",
            "start-up left out: the loop's clock starts at its first record; the job's at its first totals in Redis, "
            "without the records counted by then, and stops at the last write to Redis",
            "CPU of the loop: its process, broker and Redis; of the job: the whole stack, by part and million: "
            + split,
            "besides, the job keeps statistics, purchases, totals, state on disk, and a checkpoint every five seconds",
        ),
        data={
            "loop": [{**asdict(loop), "records_a_second": loop.rate} for loop in loops],
            "job": [
                {**asdict(job), "records_a_second": job.rate, "cpu_per_million": job.cpu_seconds_per_million}
                for job in jobs
            ],
            "ratios": ratios,
            "median_ratio": median(ratios),
            "comparison": asdict(comparison),
        },
    )


def row_of_jobs(name: str, jobs: list[JobRun]) -> tuple[Cell, ...]:
    """Give the row of a table of rates: its name, median, spread, and processor seconds for a million records."""
    return _row(name, [job.rate for job in jobs], [job.cpu_seconds_per_million for job in jobs])


def _row(name: str, rates: list[float], cpu: list[float]) -> tuple[Cell, ...]:
    return name, significant(median(rates)), spread([significant(rate) for rate in rates]), round(median(cpu), 1)


def _parts(jobs: list[JobRun]) -> list[str]:
    return sorted({part for job in jobs for part in job.cpu_seconds})


def resident_of(document: dict[str, Any]) -> dict[str, int]:
    """Give the resident bytes by part at the end of the last run in what this benchmark has written as JSON."""
    return dict(document["job"][-1]["resident_bytes"])
