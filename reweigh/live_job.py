"""The job that is kept, while another one takes its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.local import Stack
from deploy.local.cluster_jobs import cancel, stop_running
from deploy.local.errors import StackError
from deploy.local.flink import savepoints_folder
from deploy.local.job import submit, take_over

SAVEPOINT_SECONDS: Final = 120.0
_START_SECONDS: Final = 180.0


class LiveJob:
    """It of a local stack. ``wait_until_ended`` waits until the JobManager knows of none that exists."""

    def __init__(self, stack: Stack, say: Callable[[str], None], wait_until_ended: Callable[[], None]) -> None:
        self._stack, self._say, self._wait_until_ended = stack, say, wait_until_ended
        self._rest = stack.env["FLINK_REST"]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop it, and see that nobody starts it meanwhile; after an error it is started again."""
        home = self._stack.home
        self._say("stopping the live job")
        with self._stack.alone():  # `make up` would start it again
            home.job_stopped.write_text(str(os.getpid()))
            try:
                try:
                    stop_running(self._rest, SAVEPOINT_SECONDS)
                except StackError as exc:
                    self._say(f"{exc}; it is cancelled")
                    cancel(self._rest)
                self._wait_until_ended()
                yield
            except BaseException:
                home.job_stopped.unlink(missing_ok=True)
                raise

    def goes_on_from(self, savepoint: Path) -> bool:
        """Make this its state, unless it is that already; gives False when the savepoint is gone.

        The settings of the rebuild are the stack's own from here on: by others the keeper could not read that state,
        and would count over it from the first record.
        """
        if savepoint.exists():
            self._stack.remember()
            take_over(self._stack.home, self._stack.env, self._stack.settings, savepoint)
            return True
        return (savepoints_folder(self._stack.home) / savepoint.name).exists()

    def start(self) -> None:
        """Start it again."""
        home = self._stack.home
        home.job_stopped.unlink(missing_ok=True)
        if self._stack.pid("job_keeper"):
            self._stack.wait_ready("job_keeper", _START_SECONDS)
        else:
            submit(home, self._stack.env, self._stack.settings, home.log / "job-submit.log")
