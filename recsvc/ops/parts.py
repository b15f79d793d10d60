"""The parts of the page: what each is read from. A part whose server is away raises ``ReweighError``, and only it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from reccore.canary import Measured
from reccore.event_types import EventTypes
from reccore.totals import Totals
from recsvc.errors import StoreUnavailable
from recsvc.ops.flink import read_job
from recsvc.ops.log_offsets import LogOffsets
from recsvc.ops.look import PATIENCE_SECONDS, Looks, Part
from recsvc.sources import StatisticsSource
from zkconfig.history import Change, read_history
from zkconfig.presence import read_members
from zkconfig.watcher import WeightsWatcher

MOST_CHANGES: Final = 20
MOST_LETTERS: Final = 20
DEAD_LETTERS: Final = "dead_letters"
PARTS: Final = ("service", "freshness", "stream", "lag", "job", "weights", "history", "requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Where the parts come from."""

    totals: Callable[[], Totals | None]
    written_ms: Callable[[], int | None]
    measured: Callable[[], Measured | None]
    statistics: StatisticsSource
    weights: WeightsWatcher
    redis_available: Callable[[], bool]
    offsets: LogOffsets
    event_types: EventTypes
    flink_rest: str


def looks_at(watched: Watched, patience_seconds: float = PATIENCE_SECONDS) -> Looks:
    """Give the looks at all parts but the requests, which the application counts."""
    parts = {
        "service": partial(_service, watched),
        "freshness": partial(_freshness, watched),
        "stream": partial(_stream, watched),
        "lag": partial(_lag, watched),
        "job": partial(read_job, watched.flink_rest),
        "weights": partial(_weights, watched),
        "history": partial(_history, watched),
        DEAD_LETTERS: partial(_dead_letters, watched),
    }
    return Looks(parts, patience_seconds)


def _service(watched: Watched) -> Part:
    return {
        "statistics": watched.statistics.loaded,
        "redis": watched.redis_available(),
        "zookeeper": watched.weights.connected,
    }


def _freshness(watched: Watched) -> Part:
    """Tell how long the canary's last event took to be in an answer; ``outcome`` is None where nothing was measured."""
    measured = watched.measured()
    if measured is None:
        return {"outcome": None, "why": "no canary has measured it (reweigh canary)"}
    seconds_old = max(0.0, round(time.time() - measured.at_ms / 1000, 1))
    return {"outcome": measured.outcome, "seconds": measured.seconds, "seconds_old": seconds_old}


def _stream(watched: Watched) -> Part:
    totals = _totals(watched)
    return {
        "read": totals.records_in,
        "applied": totals.applied,
        "duplicates": totals.duplicates,
        "dead": totals.dead,
        "untagged": totals.untagged,
        "written_ms": watched.written_ms(),
        "newest_event_ms": int(watched.statistics.snapshot.newest_ms.max(initial=0)) or None,
    }


def _lag(watched: Watched) -> Part:
    """Give how many records of each topic are still to be counted.

    What the job has read is counted in Redis since the beginning of the log, and what it has settled is committed to
    Kafka with each checkpoint. Neither is ever more than what it has really read, so the greater of the two tells.
    """
    found = watched.offsets.offsets(tuple(watched.event_types.by_topic))
    read = _totals(watched).read
    topics = {
        name: {"end": each.end, "waiting": max(0, each.end - max(each.committed, read.get(name, 0)))}
        for name, each in found.items()
    }
    return {"topics": topics, "waiting": sum(each["waiting"] for each in topics.values())}


def _weights(watched: Watched) -> Part:
    in_force = watched.weights.in_force
    return {
        "weights": in_force.document.as_dict(),
        "version": in_force.version,
        "known": in_force.known,
        "rejected": watched.weights.rejected,
    }


def _history(watched: Watched) -> Part:
    coordination = watched.weights.coordination
    changes = read_history(coordination, watched.weights.kind, MOST_CHANGES)
    in_force = watched.weights.in_force
    if in_force.known and in_force.version not in [each.version for each in changes]:
        changes = [Change(in_force.version, 0, "", in_force.document.as_dict()), *changes][:MOST_CHANGES]
    members = [{"role": each.role, "pid": each.pid, "version": each.version} for each in read_members(coordination)]
    return {"changes": [_shown(each) for each in changes], "members": members}


def _shown(change: Change) -> dict[str, Any]:
    made = change.made_ms or None
    return {"version": change.version, "made_ms": made, "by": change.by, "weights": change.document}


def _dead_letters(watched: Watched) -> Part:
    return {"letters": watched.offsets.tail(watched.event_types.dead_letter_topic, MOST_LETTERS)}


def _totals(watched: Watched) -> Totals:
    totals = watched.totals()
    if totals is None:
        raise StoreUnavailable("Redis does not answer")
    return totals
