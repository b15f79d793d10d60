"""The supervisor: it starts the programs of a stack and restarts those that die.

It is supervisord of the package `supervisor`, controlled over a Unix socket in the home folder.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local import launch
from deploy.local.errors import StackError
from deploy.local.home import CHECKOUT, STACK_ID_VARIABLE, Home

_NOT_RUNNING, _ALREADY_STARTED, _ENDING = 70, 60, 6  # fault codes of supervisord


@dataclass(frozen=True, kw_only=True)
class Program:
    """One process to keep running.

    `configuration` is the text that it reads at its start, so that a change of it calls for a restart. It is stopped
    with `stop_patience` seconds of patience, and sent `end_with_parent` when its parent has died. At each start the
    folder `scratch` is emptied, which a program that is killed can't do.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    configuration: str = ""
    stop_patience: int = 10
    end_with_parent: signal.Signals | None = signal.SIGKILL
    scratch: Path | None = None

    def description(self) -> str:
        """Return what `launch.py` reads, as JSON."""
        content = {
            "argv": list(self.argv),
            "env": dict(sorted(self.env.items())),
            "cwd": str(CHECKOUT),
            "configuration": hashlib.sha256(self.configuration.encode()).hexdigest(),
            "end_with_parent": int(self.end_with_parent or 0),
            "scratch": None if self.scratch is None else str(self.scratch),
        }
        return json.dumps(content, indent=1) + "\n"


def start_held(program: Program, log: Path) -> subprocess.Popen[str]:
    """Start a program without the supervisor, so that it can't outlive its caller; its output is added to `log`."""
    with log.open("a") as sink:
        process = subprocess.Popen(
            (sys.executable, "-S", launch.__file__, "-"), stdin=subprocess.PIPE, stdout=sink, stderr=sink, text=True
        )
    assert process.stdin is not None  # noqa: S101 - a pipe was asked for
    process.stdin.write(program.description())
    process.stdin.close()
    return process


@dataclass(frozen=True)
class ProgramState:
    """What the supervisor says of a program: its state's name (`RUNNING`, `BACKOFF`, …), pid (0 for none), and why."""

    name: str
    state: str
    pid: int
    explanation: str

    @property
    def is_running(self) -> bool:
        """Whether a process exists and is not being stopped."""
        return self.state in ("STARTING", "RUNNING")


def render_configuration(home: Home, programs: Sequence[Program]) -> str:
    """Write the descriptions of `programs` and return supervisord's configuration that names them."""
    parts = [
        "[supervisord]",
        f"logfile={_escaped(home.log / 'supervisord.log')}",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        "loglevel=info",
        f"pidfile={_escaped(home.supervisor / 'supervisord.pid')}",
        "nodaemon=true",
        "silent=true",
        "[unix_http_server]",
        f"file={_escaped(home.socket)}",
        "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for program in programs:
        parts += [
            f"[program:{program.name}]",
            f"command={_escaped(shlex.join(launch_command(home, program)))}",
            "autostart=false",
            "autorestart=true",
            "startsecs=3",
            "startretries=1000000000",  # the delay grows by a second with each failure in a row
            "stopsignal=TERM",
            f"stopwaitsecs={program.stop_patience}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_escaped(home.log / f'{program.name}.log')}",
            "stdout_logfile_maxbytes=20MB",
            "stdout_logfile_backups=2",
        ]
    return "\n".join(parts) + "\n"


def launch_command(home: Home, program: Program) -> tuple[str, ...]:
    """Write the description of `program` and return the command that starts it."""
    file = home.supervisor / f"{program.name}.json"
    file.touch(mode=0o600)  # it may hold the key of the configuration interface
    file.write_text(program.description())
    digest = hashlib.sha256(program.description().encode()).hexdigest()[:12]
    return sys.executable, "-S", launch.__file__, str(file), digest


class Supervisor:
    """The supervisord of one home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.configuration = home.supervisor / "supervisord.conf"
        self._child = 0

    @property
    def is_alive(self) -> bool:
        """Whether it answers, be it that it is ending."""
        try:
            self._call("getState")
        except (OSError, http.client.HTTPException):
            return False
        except xmlrpc.client.Fault as fault:  # it waits for a program that was between two starts
            if fault.faultCode != _ENDING:
                raise
        return True

    def start(self, programs: Sequence[Program], *, end_with_parent: bool) -> None:
        """Start supervisord, with no program running yet, and wait until it answers.

        Args:
            programs: All that it will keep.
            end_with_parent: Let it stop everything when the calling process ends without having stopped the stack.

        Raises:
            StackError: It ends at once or does not answer within 60 seconds.
        """
        self._write(programs)
        output = self.home.log / "supervisord.out"
        supervisord = Program(
            name="supervisord",
            argv=(sys.executable, "-m", "supervisor.supervisord", "-c", str(self.configuration)),
            env={STACK_ID_VARIABLE: self.home.stack_id},
            end_with_parent=signal.SIGTERM if end_with_parent else None,
        )
        command = launch_command(self.home, supervisord)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._child = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(output), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        deadline = time.monotonic() + 60
        while not self.is_alive:
            if self.reap() or time.monotonic() > deadline:
                raise StackError(f"the supervisor did not start; see {output} and {self.home.log / 'supervisord.log'}")
            time.sleep(0.05)

    def reap(self) -> bool:
        """Take note of the end of a supervisord started by this object, and return whether it has ended."""
        if self._child:
            try:
                ended, _ = os.waitpid(self._child, os.WNOHANG)
            except ChildProcessError:
                ended = self._child
            if ended:
                self._child = 0
                return True
        return False

    def update(self, programs: Sequence[Program]) -> None:
        """Take over a new set of programs. Those whose description changed, or that are gone, are stopped."""
        self._write(programs)
        [[added, changed, removed]] = self._call("reloadConfig")
        for name in (*changed, *removed):
            self._stop(name)
            self._call("removeProcessGroup", name)
        for name in (*added, *changed):
            self._call("addProcessGroup", name)

    def start_program(self, name: str) -> None:
        """Start a program and return at once; one that runs already is left alone.

        A program that waits between two attempts is started now.
        """
        try:
            self._call("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _ALREADY_STARTED:
                raise StackError(f"{name} can't be started: {fault.faultString}") from fault

    def stop_program(self, name: str) -> None:
        """Stop a program and wait until it has ended."""
        self._stop(name)

    def states(self) -> dict[str, ProgramState]:
        """Return the state of each program by name; empty when supervisord does not answer."""
        try:
            answer: list[dict[str, Any]] = self._call("getAllProcessInfo")
        except (OSError, http.client.HTTPException):
            return {}
        return {
            item["name"]: ProgramState(
                item["name"], item["statename"], item["pid"], item["spawnerr"] or item["description"]
            )
            for item in answer
        }

    def pid(self) -> int | None:
        """Return supervisord's own process id."""
        try:
            return int(self._call("getPID"))
        except (OSError, http.client.HTTPException):
            return None

    def shut_down(self) -> None:
        """Ask it to stop every program and to end; returns at once."""
        try:
            self._call("shutdown")
        except (OSError, http.client.HTTPException, xmlrpc.client.Fault):
            return

    def _stop(self, name: str) -> None:
        try:
            self._call("stopProcess", name, True)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _NOT_RUNNING:
                raise StackError(f"{name} can't be stopped: {fault.faultString}") from fault

    def _write(self, programs: Sequence[Program]) -> None:
        self.configuration.write_text(render_configuration(self.home, programs))

    def _call(self, method: str, *arguments: object) -> Any:
        with xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_SocketTransport(self.home.socket)) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


class _SocketTransport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _SocketConnection(self._path)
        self._connection = host, connection  # so that `close` closes it
        return connection


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.close()
            raise


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")  # supervisord expands %(name)s
