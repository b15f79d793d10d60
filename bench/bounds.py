"""Memory and state under what might let them grow: a hot user, a million users, very many tags, Redis away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from bench import bounds_events, synthetic
from bench.bounds_cases import CASES, Case
from bench.bounds_events import differences
from bench.flink_runs import profile_job
from bench.report import Cell, Report
from bench.usage import PYTHON_WORKERS, usage_of
from bench.workbench import Workbench
from bench.written import totals, wait_for_last_write
from deploy.local.server import get_json
from flink_jobs.settings import MOST_TAGS_PER_USER
from reccore import layout

PARTS = ("zookeeper", "kafka", "redis", "flink")
_TASKMANAGER: Final = "taskmanager"
_LOOK_SECONDS: Final = 2.0
_WARM_UP_RECORDS, _WARM_UP_RECORDS_QUICK = 200_000, 5_000
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Look:
    """Bytes: resident in TaskManager and Python workers, referred to by the newest checkpoint, used by Redis."""

    taskmanager: int
    python_workers: int
    checkpoint: int
    redis: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One case as it was measured; ``most`` is the highest resident memory that was seen meanwhile."""

    what: str
    records: int
    seconds: float
    before: Look
    after: Look
    most: Mapping[str, int]
    rows_compared: int
    rows_wrong: int
    tags_dropped: int


@dataclass(slots=True)
class Watch:
    """Looks at the resident memory of a stack's processes all the time."""

    bench: Workbench
    most: dict[str, int] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[dict[str, int]]:
        """Look meanwhile; the dictionary given holds the highest by part."""
        thread = threading.Thread(target=self._look_on, name="watch")
        thread.start()
        try:
            yield self.most
        finally:
            self._over.set()
            thread.join()

    def _look_on(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            for part, usage in usage_of(self.bench.stack).items():
                self.most[part] = max(self.most.get(part, 0), usage.resident_bytes)


def measure(bench: Workbench, cases: Iterable[Case] = CASES) -> Report:
    """Run one job, and send it one case after the other, each digested before the next."""
    bench.empty_redis()
    with profile_job(bench) as job, bench.redis() as client:
        _warm_up(bench, client)
        figures = [_measured(bench, job, client, case) for case in cases]
    return _report(bench, figures)


def _warm_up(bench: Workbench, client: Any) -> None:
    """Let the job have its compiled code and full buffers before the first look."""
    count = bench.size("warm_up_records", _WARM_UP_RECORDS, _WARM_UP_RECORDS_QUICK)
    bench.tell(f"warming up with {count:,} records")
    synthetic.send(bench.kafka, bounds_events.records("warm-up", bounds_events.various("warm", count)))
    everything = _records_in_topics(bench)  # in a stack that was used before, more than these
    wait_for_last_write(client, lambda: totals(client).records_in >= everything)


def _records_in_topics(bench: Workbench) -> int:
    with closing(Consumer({"bootstrap.servers": bench.kafka, "group.id": "bench-bounds"})) as consumer:
        known = consumer.list_topics(timeout=30).topics
        partitions = [TopicPartition(topic, each) for topic in synthetic.TOPICS for each in known[topic].partitions]
        return sum(int(consumer.get_watermark_offsets(each, timeout=30)[1]) for each in partitions)


def _measured(bench: Workbench, job: str, client: Any, case: Case) -> Figures:
    earlier, before = totals(client), _look(bench, job, client)
    dropped = _dropped(client)
    applied = sum(earlier.applied.values())
    with Watch(bench).watching() as most:
        what, sent = case(bench)
        client.connection_pool.disconnect()  # Redis may be another process by now
        bench.tell(f"{what}: sent")

        def complete() -> bool:
            found = totals(client)
            counted = sum(found.applied.values()) - applied
            return found.records_in - earlier.records_in >= sent.records and counted >= sent.events

        seconds = wait_for_last_write(client, complete) - sent.since
        after = _look(bench, job, client)
    bench.tell(f"{what}: digested in {seconds:.0f} s, comparing")
    compared, wrong = differences(client, sent.again(), MOST_TAGS_PER_USER, users_apart=sent.users_apart)
    found = totals(client)
    wrong += found.records_in - earlier.records_in != sent.records  # a record read twice is as wrong as a lost one
    wrong += sum(found.applied.values()) - applied != sent.events
    figures = Figures(
        what, sent.records, seconds, before, after, dict(most), compared, wrong, _dropped(client) - dropped
    )
    bench.tell(" | ".join(map(str, _row(figures))))
    return figures


def _look(bench: Workbench, job: str, client: Any) -> Look:
    checkpoint = _checkpoint_bytes(bench, job)
    usage = usage_of(bench.stack)
    return Look(
        usage[_TASKMANAGER].resident_bytes,
        usage[PYTHON_WORKERS].resident_bytes,
        checkpoint,
        int(client.info("memory")["used_memory"]),
    )


def _checkpoint_bytes(bench: Workbench, job: str) -> int:
    """Wait for a checkpoint that begins after now, and give the size of all that it refers to."""
    now_ms = time.time() * 1_000

    def newer() -> Any:
        found = get_json(f"{bench.stack.addresses.flink_rest}/jobs/{job}/checkpoints") or {"latest": {}}
        completed = found["latest"].get("completed")
        return completed if completed and completed["trigger_timestamp"] > now_ms else None

    return int(bench.until("a checkpoint", newer)["state_size"])


def _dropped(client: Any) -> int:
    return int(client.get(layout.DROPPED_TAGS) or 0)


def _report(bench: Workbench, figures: list[Figures]) -> Report:
    allowed = bench.stack.settings.sizes.taskmanager_memory
    return Report(
        title="bounds: one job, one case after the other; MiB before → after (the highest seen)",
        columns=(
            "", "records", "digested in s", "TaskManager", "Python workers", "checkpoint", "Redis", "tags dropped",
            "rows compared", "differ",
        ),
        rows=tuple(_row(each) for each in figures),
        notes=(
            f"resident memory, looked at every {_LOOK_SECONDS:.0f} s; the TaskManager's process is configured to take "
            f"{allowed:,} MiB; workers: all Python processes of the job together; before the first case the job has "
            "digested a warm-up",
            "checkpoint: all that the newest one refers to; Redis: used memory, with its buffers",
            "digested: from the first record sent, or from Redis' return, to the last write to Redis",
            "differ: scores and counts of all users of the case against a recount of what was sent, capped, and the "
            "totals of records and events",
        ),
        data={"cases": [asdict(each) for each in figures]},
    )  # fmt: skip


def _row(each: Figures) -> tuple[Cell, ...]:
    before, after, most = each.before, each.after, each.most
    return (
        each.what,
        each.records,
        round(each.seconds),
        _moved(before.taskmanager, after.taskmanager, most.get(_TASKMANAGER)),
        _moved(before.python_workers, after.python_workers, most.get(PYTHON_WORKERS)),
        _moved(before.checkpoint, after.checkpoint),
        _moved(before.redis, after.redis),
        each.tags_dropped,
        each.rows_compared,
        each.rows_wrong,
    )


def _moved(before: int, after: int, most: int | None = None) -> str:
    highest = "" if most is None else f" ({round(max(before, after, most) / _MIB):,})"
    return f"{round(before / _MIB):,} → {round(after / _MIB):,}{highest}"
