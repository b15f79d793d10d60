"""Which checkpoint the job goes on from."""

import os
from pathlib import Path

from deploy.local.checkpoints import ATTEMPTS_EACH, Restore, choose_checkpoint, complete_checkpoints


def _checkpoint(folder: Path, completed: int, content: bytes = b"x") -> Path:
    folder.mkdir(parents=True)
    (folder / "_metadata").write_bytes(content)
    os.utime(folder / "_metadata", (completed, completed))
    return folder


def test_newest_by_completion_across_jobs(tmp_path: Path) -> None:
    """The number in `chk-N` starts again with each submission, so it is the time of completion that counts."""
    _checkpoint(tmp_path / "checkpoints" / "old-job" / "chk-900", completed=100)
    newest = _checkpoint(tmp_path / "checkpoints" / "new-job" / "chk-3", completed=200)
    found = complete_checkpoints(tmp_path / "checkpoints", tmp_path / "savepoints")[0]
    assert found.path == newest
    assert not found.is_savepoint


def test_incomplete_ones_are_ignored(tmp_path: Path) -> None:
    """Without `_metadata`, or with an empty one, a checkpoint was never completed."""
    complete = _checkpoint(tmp_path / "checkpoints" / "job" / "chk-1", completed=100)
    _checkpoint(tmp_path / "checkpoints" / "job" / "chk-2", completed=200, content=b"")
    (tmp_path / "checkpoints" / "job" / "chk-3").mkdir()
    (tmp_path / "checkpoints" / "job" / "shared").mkdir()
    assert [item.path for item in complete_checkpoints(tmp_path / "checkpoints", tmp_path / "savepoints")] == [complete]


def test_a_newer_savepoint_wins(tmp_path: Path) -> None:
    """A job that was stopped with a savepoint goes on from it."""
    _checkpoint(tmp_path / "checkpoints" / "job" / "chk-1", completed=100)
    savepoint = _checkpoint(tmp_path / "savepoints" / "savepoint-1a2b-3c4d", completed=101)
    found = complete_checkpoints(tmp_path / "checkpoints", tmp_path / "savepoints")[0]
    assert found.path == savepoint
    assert found.is_savepoint


def test_nothing_to_restore(tmp_path: Path) -> None:
    """A fresh home has neither folder."""
    assert choose_checkpoint(complete_checkpoints(tmp_path / "checkpoints", tmp_path / "savepoints"), 0, 0) is None


def test_an_older_one_after_failures(tmp_path: Path) -> None:
    """A checkpoint that can't be restored, a damaged file say, doesn't stop the job for ever."""
    found = [Restore(tmp_path / f"chk-{number}", number) for number in (9, 8, 7)]
    chosen = [choose_checkpoint(found, 8, attempt) for attempt in range(3 * ATTEMPTS_EACH)]
    assert chosen == [found[0]] * ATTEMPTS_EACH + [found[1]] * 2 * ATTEMPTS_EACH  # the third is of another shape
