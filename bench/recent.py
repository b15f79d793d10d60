"""What recent events cost the profile job: the same records with them and without."""

from __future__ import annotations

from dataclasses import asdict

from bench import synthetic
from bench.flink_runs import profile_job
from bench.report import Cell, Report, median, significant, spread
from bench.stream import JobRun, row_of_jobs, run_of_job
from bench.workbench import Workbench

PARTS = ("zookeeper", "kafka", "redis", "flink")
RECORDS, RECORDS_QUICK = 1_500_000, 100_000
_SEED = 6


def measure(bench: Workbench) -> Report:
    """Produce once; then in each round both, turn and turn about, each into an empty Redis."""
    records = bench.size("records", RECORDS, RECORDS_QUICK)
    bench.tell(f"producing {records:,} records")
    synthetic.produce(bench.kafka, records, _SEED)
    events = len({value for *_, value in synthetic.events(records, _SEED)})
    runs: dict[int, list[JobRun]] = {200: [], 0: []}
    for number in range(1 if bench.quick else bench.rounds):
        for kept in sorted(runs, reverse=number % 2 == 0):
            bench.empty_redis()
            with profile_job(bench, ("--recent-events", str(kept))):
                runs[kept].append(run_of_job(bench, records, events))
            bench.tell(f"{kept} recent events: {runs[kept][-1].rate:,.0f} records/s")
    return _report(records, runs[200], runs[0])


def _report(records: int, with_them: list[JobRun], without: list[JobRun]) -> Report:
    ratios = [one.rate / other.rate for one, other in zip(with_them, without, strict=True)]
    rows: tuple[tuple[Cell, ...], ...] = (
        row_of_jobs("with the newest 200 events of each user", with_them),
        row_of_jobs("without", without),
        ("with ÷ without, by round", significant(median(ratios)), spread(ratios, 2), None),
    )
    return Report(
        title=f"recent events: {records:,} records of two tags each, rounds: {len(ratios)}",
        columns=("the profile job", "records/s (median)", "lowest–highest", "CPU s per million"),
        rows=rows,
        notes=("start-up left out, as in the benchmark of the stream",),
        data={"with": list(map(asdict, with_them)), "without": list(map(asdict, without)), "ratios": ratios},
    )
