"""What the processes of a stack hold: memory and open files, by part."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from deploy.local import Stack


@dataclass(frozen=True, slots=True)
class Resources:
    """Resident bytes and open files of a part, everything that it started included."""

    resident_bytes: int
    files: int


def resources_of(stack: Stack) -> dict[str, Resources]:
    """Give the resources of each running part."""
    found = {}
    for name, state in stack.supervisor.states().items():
        resident = files = 0
        try:
            root = psutil.Process(state.pid) if state.pid else None
            family = [root, *root.children(recursive=True)] if root else []
        except psutil.Error:
            continue
        for process in family:
            try:
                resident += process.memory_info().rss
                files += process.num_fds()
            except psutil.Error:
                continue
        if family:
            found[name] = Resources(resident, files)
    return found
