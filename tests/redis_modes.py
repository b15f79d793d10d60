"""Real Redis servers in each of the ways in which Redis is run: alone, watched by Sentinels, as a cluster."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from deploy.local.ports import HOST, free_port
from deploy.local.redis_server import executable
from redisaccess.clients import client_of
from tests.waiting import wait_until

SERVICE = "reweigh"
_PATIENCE = 60.0
_ATTEMPTS = 3
_CLUSTER = "cluster-enabled yes"


@dataclass
class Server:
    """One process, and its port."""

    process: subprocess.Popen[bytes]
    port: int

    def admin(self) -> Any:
        """A client of this one."""
        return redis.Redis(HOST, self.port, decode_responses=True, socket_timeout=5)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)


@dataclass
class Ground:
    """Servers that hold data, those that watch over them, and what names all of it."""

    url: str
    servers: list[Server]
    watching: list[Server] = field(default_factory=list)

    def client(self, **options: Any) -> Any:
        """A client of the whole."""
        return client_of(self.url, decode_responses=True, socket_timeout=5, **options)

    def masters(self) -> int:
        """How many of the servers are masters now."""
        return sum(map(is_master, self.servers))

    def empty(self) -> None:
        """Forget all keys."""
        for each in self.servers:
            if is_master(each):
                with each.admin() as admin:
                    admin.flushall()


@contextmanager
def servers_started() -> Iterator[Any]:
    """Give what starts servers, and end them all."""
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="test-redis-", ignore_cleanup_errors=True) as folder:

        def attempt(*lines: str, sentinel: bool) -> Server | str:
            port = free_port()
            home = Path(tempfile.mkdtemp(prefix=f"{port}-", dir=folder))
            # The members of a cluster meet on a port of their own: 10,000 higher unless named, where it may be taken.
            meeting = [f"cluster-port {free_port()}"] if _CLUSTER in lines else []
            file = home / "redis.conf"
            file.write_text("\n".join((f"bind {HOST}", f"port {port}", f'dir "{home}"', *meeting, *lines, "")))
            argv = [str(executable()), str(file), *(["--sentinel"] if sentinel else [])]
            with (home / "log").open("wb") as log:
                process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
            started.append(process)
            server = Server(process, port)
            what = f"a Redis answers on {port}"
            wait_until(lambda: _answers(server) or process.poll() is not None, _PATIENCE, what=what)
            if process.poll() is None:
                return server
            return (home / "log").read_text()

        def start(*lines: str, sentinel: bool = False) -> Server:
            for _ in range(_ATTEMPTS):  # a port that was free when it was chosen may be taken a moment later
                outcome = attempt(*lines, sentinel=sentinel)
                if isinstance(outcome, Server):
                    return outcome
            raise AssertionError(f"none of {_ATTEMPTS} servers stayed up; the last one's log:\n{outcome}")

        try:
            yield start
        finally:
            for each in started:
                each.send_signal(signal.SIGCONT)
                each.kill()
                each.wait(30)


@contextmanager
def one_server() -> Iterator[Ground]:
    """A server alone."""
    with servers_started() as start:
        server = start('save ""')
        yield Ground(f"redis://{HOST}:{server.port}/0", [server])


@contextmanager
def watched_by_sentinels() -> Iterator[Ground]:
    """A master, its replica, and three Sentinels, two of which decide."""
    with servers_started() as start:
        master = start('save ""')
        replica = start('save ""', f"replicaof {HOST} {master.port}")
        lines = (
            f"sentinel monitor {SERVICE} {HOST} {master.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} 1500",
            f"sentinel failover-timeout {SERVICE} 5000",
        )
        watching = [start(*lines, sentinel=True) for _ in range(3)]
        hosts = ",".join(f"{HOST}:{each.port}" for each in watching)
        wait_until(lambda: all(map(_knows_all, watching)), _PATIENCE, what="the Sentinels know each other")
        yield Ground(f"redis+sentinel://{hosts}/{SERVICE}/0", [master, replica], watching)


@contextmanager
def cluster(replicas: int = 0) -> Iterator[Ground]:
    """Three masters, which share the slots, and as many times three replicas."""
    options = ('save ""', _CLUSTER, "cluster-node-timeout 2000", "cluster-replica-validity-factor 0")
    with servers_started() as start:
        servers = [start(*options) for _ in range(3 + 3 * replicas)]
        first, masters = servers[0], servers[:3]
        bounds = [0, 5461, 10923, 16384]
        for number, (low, high) in enumerate(itertools.pairwise(bounds)):
            with masters[number].admin() as admin:
                admin.execute_command("CLUSTER ADDSLOTSRANGE", low, high - 1)
        with first.admin() as admin:
            meeting = admin.config_get("cluster-port")["cluster-port"]
        for each in servers[1:]:
            with each.admin() as admin:
                admin.execute_command("CLUSTER MEET", HOST, first.port, meeting)
        wait_until(lambda: all(_is_whole(each, len(servers)) for each in servers), _PATIENCE, what="they are a cluster")
        for number, each in enumerate(servers[3:]):
            with masters[number % 3].admin() as admin:
                name = admin.execute_command("CLUSTER MYID")
            with each.admin() as admin:
                admin.execute_command("CLUSTER REPLICATE", name)
        wait_until(lambda: all(map(_is_linked, servers[3:])), _PATIENCE, what="the replicas follow")
        yield Ground("redis+cluster://" + ",".join(f"{HOST}:{each.port}" for each in masters), servers)


in_each_way = pytest.mark.parametrize("way", ["server", "sentinel", "cluster"], indirect=True)
"""For tests of what has to hold however Redis is run."""

GROUNDS = {"server": one_server, "sentinel": watched_by_sentinels, "cluster": cluster}


def _answers(server: Server) -> bool:
    try:
        with server.admin() as admin:
            return bool(admin.ping())
    except redis.RedisError:
        return False


def is_master(server: Server) -> bool:
    """Whether it says so; one that is away, or changes its part just now and ends connections, is none."""
    try:
        with server.admin() as admin:
            return bool(admin.info("replication")["role"] == "master")
    except redis.RedisError:
        return False


def _knows_all(sentinel: Server) -> bool:
    with sentinel.admin() as admin:
        state = admin.sentinel_master(SERVICE)
        return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1 and "s_down" not in state["flags"])


def _is_whole(server: Server, known: int) -> bool:
    with server.admin() as admin:
        state = admin.execute_command("CLUSTER INFO")
        return state["cluster_state"] == "ok" and int(state["cluster_known_nodes"]) == known


def _is_linked(server: Server) -> bool:
    with server.admin() as admin:
        state = admin.info("replication")
        return bool(state["role"] == "slave" and state["master_link_status"] == "up")
