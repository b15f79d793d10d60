"""What the processes of a stack use: processor time and resident memory, by part."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from deploy.local import Stack
from deploy.local.processes import processes_of

PYTHON_WORKERS = "python workers"
OTHERS = "supervisor"


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time (user and system, seconds since their start) and resident bytes of some processes."""

    processes: int
    cpu_seconds: float
    resident_bytes: int


def usage_of(stack: Stack) -> dict[str, Usage]:
    """Give the usage of each part of a stack; what the TaskManager started is apart, as ``python workers``."""
    part_of = {state.pid: name for name, state in stack.supervisor.states().items() if state.pid}
    found: dict[str, Usage] = {}
    for process in processes_of(stack.home.stack_id):
        try:
            with process.oneshot():
                times, resident = process.cpu_times(), process.memory_info().rss
            part = _part(process, part_of)
        except psutil.Error:
            continue
        before = found.get(part, Usage(0, 0.0, 0))
        found[part] = Usage(
            before.processes + 1,
            before.cpu_seconds + times.user + times.system,
            before.resident_bytes + resident,
        )
    return found


def cpu_seconds_between(before: dict[str, Usage], after: dict[str, Usage]) -> dict[str, float]:
    """Give the processor time that each part used between two looks."""
    return {
        part: usage.cpu_seconds - (before[part].cpu_seconds if part in before else 0.0) for part, usage in after.items()
    }


def _part(process: psutil.Process, part_of: dict[int, str]) -> str:
    if process.pid in part_of:
        return part_of[process.pid]
    for parent in process.parents():
        if parent.pid in part_of:
            part = part_of[parent.pid]
            return PYTHON_WORKERS if part == "taskmanager" else part
    return OTHERS
