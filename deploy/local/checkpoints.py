"""Choosing the checkpoint or savepoint from which the job goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ATTEMPTS_EACH = 3
"""Attempts in a row that fail before the next older checkpoint is tried."""


@dataclass(frozen=True)
class Restore:
    """A complete checkpoint (`chk-N`) or savepoint, and when it was completed in epoch nanoseconds."""

    path: Path
    completed_ns: int

    @property
    def is_savepoint(self) -> bool:
        """Whether it belongs to the user: Flink must not delete it once it is out of date."""
        return self.path.name.startswith("savepoint-")


def complete_checkpoints(checkpoints: Path, savepoints: Path) -> list[Restore]:
    """Return what a job can be restored from, the newest first.

    Checkpoints of all job ids count, since each submission has an id of its own. One without `_metadata`, or with an
    empty one, was never completed.
    """
    found = []
    for folder in (*checkpoints.glob("*/chk-*"), *savepoints.glob("savepoint-*")):
        try:
            metadata = (folder / "_metadata").stat()
        except OSError:
            continue
        if metadata.st_size > 0:
            found.append(Restore(folder, metadata.st_mtime_ns))
    return sorted(found, key=lambda restore: (restore.completed_ns, restore.path.name), reverse=True)


def choose_checkpoint(found: Sequence[Restore], since_ns: int, attempt: int) -> Restore | None:
    """Return the newest one completed since then, an older one after several attempts, None if there is none."""
    usable = [restore for restore in found if restore.completed_ns >= since_ns]
    return usable[min(attempt // ATTEMPTS_EACH, len(usable) - 1)] if usable else None
