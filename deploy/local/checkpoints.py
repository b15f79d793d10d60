"""Choosing the checkpoint or savepoint from which the job goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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


def newest_checkpoint(checkpoints: Path, savepoints: Path) -> Restore | None:
    """Return the one that was completed last, or None."""
    return next(iter(complete_checkpoints(checkpoints, savepoints)), None)
