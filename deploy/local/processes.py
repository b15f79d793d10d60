"""Finding and ending the processes of a stack, whoever started them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

import psutil

from deploy.local.home import STACK_ID_VARIABLE


def processes_of(stack_id: str) -> list[psutil.Process]:
    """Return the running processes that carry `stack_id` in their environment, without this one and its ancestors."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in spared and _stack_of(process) == stack_id and _is_alive(process)
    ]


def end(processes: Iterable[psutil.Process], patience_seconds: float) -> list[psutil.Process]:
    """Ask each process to end, end by force what has not after `patience_seconds`, and return what is left."""
    processes = list(processes)
    for process in processes:
        _signal(process, signal.SIGCONT)
        _signal(process, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(processes, timeout=patience_seconds)
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    _, left = psutil.wait_procs(stubborn, timeout=10)
    return [process for process in left if _is_alive(process)]


def end_stack(stack_id: str, patience_seconds: float) -> list[psutil.Process]:
    """End every process of a stack, also those which are born meanwhile; return what is left."""
    left: list[psutil.Process] = []
    for _ in range(5):
        found = processes_of(stack_id)
        if not found:
            return []
        left = end(found, patience_seconds)
    return left


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and all its descendants, 0 when it is gone."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def _stack_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(STACK_ID_VARIABLE)
    except (psutil.Error, OSError):
        return None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return
