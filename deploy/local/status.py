"""`make status`: what runs, where, and how much memory it takes."""

from __future__ import annotations

import time
from dataclasses import dataclass

from deploy.local.cluster_jobs import list_jobs
from deploy.local.job import restore_from
from deploy.local.parts import SERVERS_OF
from deploy.local.processes import resident_bytes
from deploy.local.stack import Stack


@dataclass(frozen=True)
class Line:
    """One server: name, state in a word, pid (0 for none), address, resident memory in bytes with its children."""

    name: str
    state: str
    pid: int
    address: str
    resident: int

    @property
    def is_fine(self) -> bool:
        """Whether it answers."""
        return self.state == "answers"


def server_lines(stack: Stack) -> list[Line]:
    """Return a line for each server that was started."""
    names = [name for part in stack.started_parts() for name in SERVERS_OF[part]]
    states = stack.supervisor.states()
    lines = []
    for server in stack.servers() if names else ():
        if server.name not in names:
            continue
        state = states.get(server.name)
        pid = state.pid if state else 0
        word = "answers" if server.is_ready() else (state.state.lower() if state else "no supervisor")
        lines.append(Line(server.name, word, pid, server.address, resident_bytes(pid) if pid else 0))
    return lines


def job_line(stack: Stack) -> str:
    """Describe the job and its newest checkpoint in a line."""
    jobs = list_jobs(stack.addresses.flink_rest)
    if stack.home.job_stopped.exists() and not any(job.exists for job in jobs or ()):  # one may be run by hand
        return f"job: stopped on purpose ({stack.home.job_stopped})"
    if jobs is None:
        return "job: the JobManager does not answer"
    if not jobs:
        return "job: none"
    restore = restore_from(stack.home, stack.settings)
    age = f"{time.time() - restore.completed_ns / 1e9:.0f} s old: {restore.path}" if restore else "none"
    job = jobs[0]
    return f"job: {job.state}, {job.running} of {job.vertices} vertices running, id {job.identity}\ncheckpoint: {age}"


def describe(stack: Stack) -> tuple[str, bool]:
    """Return the table, and whether everything that was started is fine."""
    lines = server_lines(stack)
    if not lines:
        return f"nothing runs in {stack.home.path}; `make up` starts it", False
    table = [f"{'part':<12} {'state':<14} {'pid':>7}  {'MiB':>6}  address"]
    table += [
        f"{line.name:<12} {line.state:<14} {line.pid or '':>7}  {line.resident / 2**20:>6.0f}  {line.address}".rstrip()
        for line in lines
    ]
    supervisor = stack.supervisor.pid()
    total = sum(line.resident for line in lines) + (
        resident_bytes(supervisor) - sum(line.resident for line in lines) if supervisor else 0
    )
    table.append(f"{'total':<12} {'':<14} {supervisor or '':>7}  {total / 2**20:>6.0f}  (with the supervisor)")
    if "flink" in stack.started_parts():
        table.append(job_line(stack))
    return "\n".join(table), all(line.is_fine for line in lines) and supervisor is not None
