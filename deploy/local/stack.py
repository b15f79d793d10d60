"""The local stack: start, repair, stop."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local import jars, java, prometheus, rabbitmq
from deploy.local.addresses import Addresses, rabbitmq_environment, stack_environment, write_stack_env
from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.parts import AFTER_TOPICS, DEFAULT_PARTS, PORTS_OF, SERVERS_OF, STOP_ORDER, all_servers, check_parts
from deploy.local.ports import choose_ports
from deploy.local.processes import end_stack, processes_of
from deploy.local.progress import Progress, log_tail, silent
from deploy.local.server import Server
from deploy.local.settings import Settings, read_settings, remember_settings
from deploy.local.supervision import Supervisor
from deploy.local.topics import create_topics

START_SECONDS = 300.0
_GIVE_UP_AFTER_DEATHS = 4


class Stack:
    """One local stack in one home folder.

    As a context manager it starts the stack and stops it at the end; should the process that holds it die, the
    stack is stopped too (therefore enter it in the main thread). `up` alone starts it detached.

    Args:
        home: Its folder, by default `.local` of the checkout. Two stacks need two folders.
        parts: Which of zookeeper, kafka, redis, flink, api, sweeper, job to run; by default all of these; rabbitmq,
            bridge, archive, monitoring and canary are further ones.
        environment: Where settings are read, by default the process's own environment.
        tell: Is given each line about the progress.
    """

    def __init__(
        self,
        home: Path | str | None = None,
        parts: Iterable[str] = DEFAULT_PARTS,
        *,
        environment: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = silent,
    ) -> None:
        self.home = Home.at(home)
        self.parts = check_parts(parts)
        self.supervisor = Supervisor(self.home)
        self._environment = dict(os.environ if environment is None else environment)
        self._progress = Progress(tell)

    @property
    def settings(self) -> Settings:
        """What was chosen for this stack."""
        return read_settings(self.home, self._environment)

    @property
    def addresses(self) -> Addresses:
        """Where the parts listen; known after the first `up`."""
        file = self.home.path / "ports.json"
        if not file.exists():
            raise StackError(f"no stack was started in {self.home.path}")
        return Addresses(json.loads(file.read_text()))

    @property
    def env(self) -> dict[str, str]:
        """What `stack.env` holds."""
        rabbit = rabbitmq_environment(self.addresses) if "rabbitmq" in self._known_parts() else {}
        return {**self._base_env(), **rabbit}

    def servers(self) -> list[Server]:
        """Describe every server of the stack, running or not."""
        return all_servers(self.home, self.settings, self.addresses, self._base_env(), self._known_parts())

    def up(self, *, attached: bool = False) -> None:
        """Start what does not run, wait until all of it answers, and write `stack.env`.

        Args:
            attached: Stop the stack when the calling process dies.

        Raises:
            StackError: A part does not start; what runs stays and is ended by `down`.
        """
        self.home.create()
        with self.alone():
            self._progress.begin()
            settings = self.settings
            self.remember()
            java.java_home()
            alive = self._end_orphans()
            running = [state.name for state in self.supervisor.states().values() if state.is_running] if alive else []
            choose_ports(self.home, settings.ports, {port for name in running for port in PORTS_OF.get(name, ())})
            if {"kafka", "zookeeper", "flink", "job"} & set(self.parts):
                jars.fetch_jars(self._progress.say)
            if "rabbitmq" in self.parts:
                rabbitmq.provide(self._progress.say)
            if "monitoring" in self.parts:
                prometheus.provide(self._progress.say)
            if "job" in self.parts:
                self.home.job_stopped.unlink(missing_ok=True)
            servers = self.servers()
            write_stack_env(self.home, self.env)
            programs = [server.program for server in servers]
            if alive:
                self.supervisor.update(programs)
            else:
                self.supervisor.start(programs, end_with_parent=attached)
            self._remember_parts()  # also what fails to start is looked after by the next `up`
            self._start_in_order(servers, settings)

    def remember(self) -> None:
        """Keep the settings given here: the job keeper goes by them from now on, all else after the next `up`."""
        remember_settings(self.home, self._environment)

    def down(self) -> None:
        """Stop everything, in order, and make sure that no process of this stack is left.

        Raises:
            StackError: A process can't be ended.
        """
        if not self.home.path.exists():
            end_stack(self.home.stack_id, 5)
            return
        with self.alone():
            self._progress.begin()
            if self.supervisor.is_alive:
                for wave in STOP_ORDER:
                    self._stop(wave)
                self.supervisor.shut_down()
                self._wait(lambda: not self.supervisor.is_alive, 15)
            left = end_stack(self.home.stack_id, 10)
            self.supervisor.reap()
            if left:
                raise StackError("still running: " + ", ".join(f"{process.name()} ({process.pid})" for process in left))
            (self.home.path / "parts.json").unlink(missing_ok=True)
            self._progress.done("stopped")

    def started_parts(self) -> tuple[str, ...]:
        """Return the parts that were started by `up` and not stopped by `down` since."""
        file = self.home.path / "parts.json"
        return check_parts(json.loads(file.read_text())) if file.exists() else ()

    def pid(self, server: str) -> int:
        """Return the process id of a server by its name (`jobmanager`, `kafka`, …), 0 when it does not run."""
        state = self.supervisor.states().get(server)
        return state.pid if state else 0

    def kill(self, server: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a server's process and return its id. The supervisor restarts what dies of it.

        Raises:
            StackError: It does not run.
        """
        pid = self.pid(server)
        if not pid:
            raise StackError(f"{server} does not run")
        os.kill(pid, number)
        return pid

    def wait_ready(self, server: str, seconds: float = 60) -> float:
        """Wait until a server answers and return the seconds that it took.

        Raises:
            StackError: It does not answer in time.
        """
        began = time.monotonic()
        described = next(item for item in self.servers() if item.name == server)
        if not self._wait(described.is_ready, seconds):
            raise StackError(f"{server} did not answer within {seconds:.0f} s\n{log_tail(self.home, server)}")
        return time.monotonic() - began

    def __enter__(self) -> Self:
        try:
            self.up(attached=True)
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @contextmanager
    def alone(self, patience_seconds: float = 180) -> Iterator[None]:
        """Hold the lock of this home: never two `up` or `down` at once."""
        deadline = time.monotonic() + patience_seconds
        with (self.home.path / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise StackError(f"another command works on the stack in {self.home.path}") from error
                    self._progress.once("waiting for another command that works on this stack")
                    time.sleep(0.3)
            yield

    def _end_orphans(self) -> bool:
        """Return whether the supervisor is alive; when it is not, end the processes that it left behind."""
        if self.supervisor.is_alive:
            return True
        self.supervisor.reap()
        orphans = processes_of(self.home.stack_id)
        if orphans:
            self._progress.say(f"ending {len(orphans)} processes without a supervisor")
            if end_stack(self.home.stack_id, 5):
                raise StackError(f"processes of the stack in {self.home.path} can't be ended")
        self.home.socket.unlink(missing_ok=True)
        return False

    def _start_in_order(self, servers: Sequence[Server], settings: Settings) -> None:
        wanted = {name for part in self.parts for name in SERVERS_OF[part]}
        first = [server for server in servers if server.name in wanted and server.name not in AFTER_TOPICS]
        last = [server for server in servers if server.name in wanted and server.name in AFTER_TOPICS]
        with ThreadPoolExecutor(max_workers=len(servers)) as pool:  # starting one takes the supervisor a second
            list(pool.map(self._start, first))
            waiting = {server.name: server for server in first}
            if "kafka" in waiting:
                self._await(waiting, until="kafka")
                create_topics(self.addresses.kafka, settings)
                self._progress.done("topics", self.addresses.kafka)
            list(pool.map(self._start, last))
        waiting |= {server.name: server for server in last}
        self._await(waiting)

    def _start(self, server: Server) -> None:
        server.before_start()
        self.supervisor.start_program(server.name)

    def _await(self, waiting: dict[str, Server], until: str = "") -> None:
        """Poll the servers in `waiting`, taking out each that answers, until none is left or `until` is out."""
        deadline = time.monotonic() + START_SECONDS
        deaths: dict[str, set[str]] = {}
        while waiting and (not until or until in waiting):
            for name, server in list(waiting.items()):
                if server.is_ready():
                    del waiting[name]
                    self._progress.done(name, server.address)
            for state in self.supervisor.states().values():
                if state.name in waiting and state.state in ("BACKOFF", "EXITED", "FATAL"):
                    deaths.setdefault(state.name, set()).add(state.explanation)
                    if len(deaths[state.name]) >= _GIVE_UP_AFTER_DEATHS:
                        self._fail(state.name, "ends again and again")
            if waiting and time.monotonic() > deadline:
                self._fail(next(iter(waiting)), f"did not answer within {START_SECONDS:.0f} s")
            time.sleep(0.15)

    def _fail(self, name: str, what: str) -> None:
        raise StackError(
            f"{name} {what}. The end of its log:\n\n{log_tail(self.home, name)}\n\n"
            f"The whole log is {self.home.log / name}.log. `make up` tries again, `make down` stops what runs, "
            "`make clean` removes its data too."
        )

    def _stop(self, names: Sequence[str]) -> None:
        running = [name for name, state in self.supervisor.states().items() if name in names and state.is_running]
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(self.supervisor.stop_program, running))
        for name in running:
            self._progress.done(name, "stopped")

    def _base_env(self) -> dict[str, str]:
        settings = self.settings
        return stack_environment(self.home, self.addresses, settings.handed_on, settings.redis_url)

    def _known_parts(self) -> tuple[str, ...]:
        return check_parts({*self.parts, *self.started_parts()})

    def _remember_parts(self) -> None:
        (self.home.path / "parts.json").write_text(json.dumps(self._known_parts()) + "\n")

    @staticmethod
    def _wait(condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True
