"""The log of an archive: numbered manifests, which say what it holds. The Parquet files follow them.

A commit goes like this, and each step can be done again:

1. files are written under ``_staging/``, where nobody looks;
2. ``_log/<n>.json`` is created, which is the commit: it succeeds for one process only, whole or not at all;
3. each file is moved to its final name, and what the manifest removes is removed.

After a crash before 2 nothing has happened; after it, whoever comes next does 3 again. Now and then all of it is folded
into ``_log/<n>.checkpoint.json``, so that a start reads few files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from reweigh.archive.errors import ArchiveChanged, ArchiveError
from reweigh.archive.manifest import DataFile, Manifest
from reweigh.archive.schema import DATA_SETS, DataSet
from reweigh.archive.store import Store

LOG: Final = "_log"
STAGING: Final = "_staging"
_COMMIT: Final = ".json"
_CHECKPOINT: Final = ".checkpoint.json"
_FOLD_AFTER: Final = 50
_ATTEMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an archive holds after its last commit; ``last`` is None for one that has none."""

    last: Manifest | None = None
    files: Mapping[str, DataFile] = field(default_factory=dict)
    since_fold: int = 0
    """Commits since the last checkpoint."""
    unsettled: tuple[Manifest, ...] = ()
    """Commits of which it is not known whether their third step is done, the oldest first."""

    @property
    def number(self) -> int:
        """Number of the last commit, 0 for none."""
        return self.last.number if self.last else 0

    @property
    def data_set(self) -> DataSet | None:
        """What kind of records it holds, None before the first commit."""
        return DATA_SETS[self.last.data_set] if self.last else None

    def after(self, manifest: Manifest) -> Snapshot:
        """Give the snapshot with one more commit."""
        gone = set(manifest.removed)
        files = {path: each for path, each in self.files.items() if path not in gone}
        files |= {each.path: each for each in manifest.added}
        return Snapshot(manifest, files, self.since_fold + 1, (*self.unsettled, manifest))

    def settled(self) -> Snapshot:
        """Give the same, with nothing left to do."""
        return replace(self, unsettled=())


class Log:
    """Reads and writes the manifests of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self) -> Snapshot:
        """Read what there is. Raises :class:`ArchiveError` for a log that has a gap or holds something else."""
        for _ in range(_ATTEMPTS):
            try:
                return self._read()
            except FileNotFoundError:
                continue  # folded meanwhile: the checkpoint is there by now
        raise ArchiveError(f"the log of {self._store.url} lacks manifests that its names promise")

    def _read(self) -> Snapshot:
        commits, checkpoints = self._numbers()
        snapshot = Snapshot()
        if checkpoints:
            folded = self._manifest(_checkpoint_path(checkpoints[-1]))
            # What was folded was settled before.
            snapshot = Snapshot(folded, {each.path: each for each in folded.added})
        for number in (each for each in commits if each > snapshot.number):
            if number != snapshot.number + 1:
                raise FileNotFoundError(_commit_path(snapshot.number + 1))
            snapshot = snapshot.after(self._manifest(_commit_path(number)))
        return snapshot

    def commit(self, snapshot: Snapshot, manifest: Manifest) -> Snapshot:
        """Do the second step, for a manifest whose number follows ``snapshot``; call :meth:`settle` next.

        When it is not sure whether it was done before, it can be called again with the same manifest. Raises
        :class:`ArchiveChanged` when another process has taken the number, or the log is not what it was.
        """
        path = _commit_path(manifest.number)
        if snapshot.number and not self._knows(snapshot.number):
            raise ArchiveChanged(f"the log of {self._store.url} has lost its manifest {snapshot.number}")
        if manifest.added:
            self._store.sync([STAGING])
        try:
            self._store.create(path, manifest.to_json())
        except FileExistsError:
            if self._manifest(path).token != manifest.token:
                raise ArchiveChanged(f"another process has written {path} of {self._store.url}") from None
        self._store.sync([LOG])
        commits, checkpoints = self._numbers()
        if max(commits + checkpoints) > manifest.number:
            # It stood still for so long that its number was used, folded and removed: nobody reads what it wrote.
            raise ArchiveChanged(f"{path} of {self._store.url} comes too late")
        return snapshot.after(manifest)

    def settle(self, snapshot: Snapshot) -> Snapshot:
        """Do the third step of every commit that may lack it, and fold the log when it has become long."""
        for manifest in snapshot.unsettled:
            for file in manifest.added:
                if file.path in snapshot.files:
                    self._settle_file(file)
            for path in manifest.removed:
                self._store.remove(path)
        settled = snapshot.settled()
        return self._fold(settled) if settled.since_fold >= _FOLD_AFTER else settled

    def _settle_file(self, file: DataFile) -> None:
        try:
            self._store.move(file.staged, file.path)
        except FileNotFoundError:
            if not self._store.exists(file.path):
                raise ArchiveChanged(f"{self._store.url} has lost {file.path}") from None

    def _fold(self, snapshot: Snapshot) -> Snapshot:
        last = snapshot.last
        assert last is not None  # noqa: S101 - it has commits
        # From here on nobody rolls these commits forward again.
        self._store.sync(sorted({path.rpartition("/")[0] for path in snapshot.files}))
        folded = replace(last, added=tuple(snapshot.files.values()), removed=())
        self._store.write(_checkpoint_path(last.number), folded.to_json())
        self._store.sync([LOG])
        commits, checkpoints = self._numbers()
        for number in commits:
            if number < last.number:
                self._store.remove(_commit_path(number))
        for number in checkpoints[:-1]:
            self._store.remove(_checkpoint_path(number))
        return replace(snapshot, since_fold=0)

    def _knows(self, number: int) -> bool:
        return self._store.exists(_commit_path(number)) or self._store.exists(_checkpoint_path(number))

    def _manifest(self, path: str) -> Manifest:
        return Manifest.from_json(self._store.read(path), path)

    def _numbers(self) -> tuple[list[int], list[int]]:
        """Give the numbers of commits and of checkpoints, sorted."""
        names = self._store.names(LOG)
        checkpoints = [name.removesuffix(_CHECKPOINT) for name in names if name.endswith(_CHECKPOINT)]
        commits = [
            name.removesuffix(_COMMIT) for name in names if name.endswith(_COMMIT) and not name.endswith(_CHECKPOINT)
        ]
        return _sorted_numbers(commits), _sorted_numbers(checkpoints)


def _sorted_numbers(names: list[str]) -> list[int]:
    return sorted(int(name) for name in names if name.isdigit())


def _commit_path(number: int) -> str:
    return f"{LOG}/{number:012d}{_COMMIT}"


def _checkpoint_path(number: int) -> str:
    return f"{LOG}/{number:012d}{_CHECKPOINT}"
