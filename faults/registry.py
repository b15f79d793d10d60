"""All rows of the matrix by name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from faults import archive, broker, clocks, coordination, serving, soak, stores, streams, versions
from faults.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: the fault, what must hold, how it is carried out, and what its stack needs."""

    name: str
    fault: str
    must_hold: str
    carry_out: Callable[[Run], str]
    settings: Mapping[str, str] = field(default_factory=dict)
    behind_proxy: bool = False


_ONE_PARTITION = {"REWEIGH_PARTITIONS": "1"}
_ROWS = (
    ("S1", "TaskManager killed", "running again within 20 s", streams.killed_taskmanager),
    ("S2", "JobManager, whole cluster killed", "within 60 s; never two jobs", streams.killed_jobmanager),
    ("S3", "Python worker killed", "no hang", streams.killed_python_worker),
    ("S4", "TaskManager and its Python workers paused", "the zombie changes nothing", streams.paused_taskmanager),
    ("S5", "savepoint, parallelism 1 → 2 → 1", "state identical", streams.rescaled),
    ("K1", "broker ended and killed", "every acknowledged event counted", broker.killed_broker),
    ("K2", "broker paused", "503 within 2 s; memory bounded", broker.paused_broker),
    ("K3", "each event one to five times, restarts", "counted once", broker.repeated),
    ("K4", "any order, any time", "one result for every order", broker.disordered),
    ("K5", "poison", "no restart; one dead letter each", broker.poisoned),
    ("K6", "partitions 1 → 4", "new partitions are read", broker.new_partitions),
    ("R1", "Redis away, refusing, emptied", "no 5xx; p95 within 100 ms of the normal", stores.lost_redis),
    ("R2", "Redis far, reset, sliced", "as R1; nothing used up", stores.far_redis),
    ("Z1", "ZooKeeper killed", "weights within 1 s of its return", coordination.killed_zookeeper),
    ("Z2", "ZooKeeper paused, session expired", "as Z1; serving unaffected", coordination.paused_zookeeper),
    ("Z3", "cold start without ZooKeeper", "last good weights; readyz says so", coordination.cold_start),
    ("Z4", "bad documents, 500 changes", "last good kept; ends on the last", coordination.bad_documents),
    ("Z5", "racing PUTs", "one wins; history holds the winners", versions.racing_changes),
    ("Z6", "weights changed under load", "every answer exact for its version", versions.changed_under_load),
    ("A1", "archive: disk full, read-only, removed", "serving unaffected; archive = ledger", archive.refused_writes),
    ("A2", "archive killed while it writes", "every file opens; no row twice or missing", archive.killed_while_writing),
    ("H1", "slow clients", "health p95 below 100 ms", serving.crawled),
    ("H2", "oversized and cut requests", "413, 411, 431, 414; none taken", serving.oversized),
    ("H3", "fuzzing", "no 5xx but Kafka's 503; every 4xx a problem", serving.fuzzed),
    ("H4", "worker killed, reload, SIGTERM", "no failed request on reload or drain", serving.lost_workers),
    ("H5", "far more requests than can be answered", "goodput 80 % of the peak; recovers in 10 s", serving.overloaded),
    ("T1", "wrong clocks", "no negative time; counted once", clocks.wrong_clock),
    ("T2", "soak with random faults", "no read fails; memory and files flat", soak.soak),
)
_SETTINGS = {"K6": _ONE_PARTITION}
_BEHIND_PROXY = {"R2"}


def rows() -> dict[str, Row]:
    """Give all rows."""
    return {
        name: Row(
            name=name,
            fault=fault,
            must_hold=must_hold,
            carry_out=carry_out,
            settings=_SETTINGS.get(name, {}),
            behind_proxy=name in _BEHIND_PROXY,
        )
        for name, fault, must_hold, carry_out in _ROWS
    }
