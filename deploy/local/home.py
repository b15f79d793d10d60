"""Where a stack keeps its files, and the identity that its processes carry."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
STACK_ID_VARIABLE = "REWEIGH_STACK_ID"
# A Unix socket's path has at most 107 bytes, and supervisord binds a temporary name that is a dot and its pid longer.
LONGEST_SOCKET_PATH = 95


@dataclass(frozen=True)
class Home:
    """The folder of one stack. Everything that the stack writes is below it, but for the socket of a very long path."""

    path: Path

    @classmethod
    def at(cls, path: Path | str | None = None) -> Home:
        """Return the home at `path`, by default `.local` of the checkout, as an absolute path."""
        return cls(Path(path).resolve() if path is not None else CHECKOUT / ".local")

    @property
    def stack_id(self) -> str:
        """Identity carried by each process in `REWEIGH_STACK_ID`.

        It follows from the path, so processes are found again even after the folder was deleted under them.
        """
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]

    @property
    def log(self) -> Path:
        """One log file a part."""
        return self.path / "log"

    @property
    def stack_env(self) -> Path:
        """The addresses, `KEY=VALUE` a line."""
        return self.path / "stack.env"

    @property
    def flink(self) -> Path:
        """Flink's configuration, checkpoints, savepoints and temporary files."""
        return self.path / "flink"

    @property
    def job_stopped(self) -> Path:
        """Marks a job that was stopped on purpose: while this file exists nobody starts the job again."""
        return self.flink / "job.stopped"

    @property
    def replay_lock(self) -> Path:
        """Held by `reweigh replay` for as long as it runs."""
        return self.flink / "replay.lock"

    @property
    def supervisor(self) -> Path:
        """The supervisor's configuration and the launch descriptions of the programs."""
        return self.path / "supervisor"

    @property
    def socket(self) -> Path:
        """The supervisor's Unix socket."""
        inside = self.supervisor / "s.sock"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
            return inside
        return Path(tempfile.gettempdir()) / f"reweigh-{os.getuid()}-{self.stack_id}" / "s.sock"

    def create(self) -> None:
        """Make the folders that do not exist yet."""
        for folder in (self.path, self.log, self.flink, self.supervisor):
            folder.mkdir(parents=True, exist_ok=True)
        self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def cache_folder() -> Path:
    """Return where downloaded jars are kept: `REWEIGH_CACHE`, or `.local/cache` of this checkout."""
    chosen = os.environ.get("REWEIGH_CACHE")
    return Path(chosen).resolve() if chosen else CHECKOUT / ".local" / "cache"
