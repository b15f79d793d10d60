"""A TaskManager more for a while, where the first has no slot left."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import replace
from types import TracebackType
from typing import Self

from deploy.local import flink
from deploy.local.cluster_jobs import free_slots
from deploy.local.errors import StackError
from deploy.local.home import STACK_ID_VARIABLE
from deploy.local.ports import free_port
from deploy.local.progress import log_tail
from deploy.local.stack import Stack
from deploy.local.supervision import start_held

_NAME = "taskmanager-2"
_START_SECONDS = 120.0
_END_SECONDS = 15.0


class SecondTaskManager:
    """Runs as long as the context lasts; it ends with the process that holds it, too.

    Args:
        stack: Its JobManager runs.
        slots: How many free slots are needed.
    """

    def __init__(self, stack: Stack, slots: int) -> None:
        self._stack, self._slots = stack, slots
        self._folder = stack.home.flink / f"work-{_NAME}"
        self._temporary = flink.temporary_folder(stack.home, _NAME)
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        stack = self._stack
        _, task_manager = flink.servers(stack.home, stack.addresses.ports, stack.settings.sizes)
        program = replace(
            task_manager.program,
            argv=(*task_manager.program.argv, *self._options()),
            env={**task_manager.program.env, STACK_ID_VARIABLE: stack.home.stack_id},
            scratch=self._temporary,
        )
        self._process = start_held(program, stack.home.log / f"{_NAME}.log")
        deadline = time.monotonic() + _START_SECONDS
        while free_slots(stack.addresses.flink_rest) < self._slots:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise StackError(f"a second TaskManager does not start:\n{log_tail(stack.home, _NAME)}")
            time.sleep(0.3)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for folder in (self._folder, self._temporary):
            shutil.rmtree(folder, ignore_errors=True)

    def _options(self) -> list[str]:
        options = {
            "taskmanager.resource-id": _NAME,
            "taskmanager.numberOfTaskSlots": str(self._slots),
            "process.working-dir": str(self._folder),
            "metrics.reporter.prom.port": str(free_port()),
            "io.tmp.dirs": str(self._temporary),
        }
        return [text for key, value in options.items() for text in ("-D", f"{key}={value}")]
