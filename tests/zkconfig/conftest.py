"""A real ZooKeeper for these tests, and a namespace of its own for each of them."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from deploy.local.stack import Stack
from tests.waiting import wait_until
from zkconfig.coordination import Coordination
from zkconfig.kazoo_client import KazooCoordination
from zkconfig.memory import MemoryCoordination, MemoryServer

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def zookeeper_stack() -> Iterator[Stack]:
    """A stack of ZooKeeper alone, started once."""
    with (
        tempfile.TemporaryDirectory(prefix="zk-", ignore_cleanup_errors=True) as home,
        Stack(home=Path(home), parts=("zookeeper",)) as stack,
    ):
        yield stack


@pytest.fixture
def real_hosts(zookeeper_stack: Stack) -> str:
    """Hosts with a chroot that no other test uses."""
    chroot = f"/test-{next(_NUMBERS)}"
    client = KazooClient(zookeeper_stack.addresses.zookeeper)
    client.start(timeout=30)
    client.ensure_path(chroot)
    client.stop()
    client.close()
    return zookeeper_stack.addresses.zookeeper + chroot


@pytest.fixture
def bare(real_hosts: str) -> Iterator[KazooClient]:
    """Somebody else's ZooKeeper client."""
    client = KazooClient(real_hosts)
    client.start(timeout=30)
    yield client
    client.stop()
    client.close()


@pytest.fixture(params=["memory", "real"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[], Coordination]]:
    """Gives connected sessions with one server, in memory or real; all are ended afterwards."""
    opened: list[Coordination] = []
    if request.param == "memory":
        server = MemoryServer()

        def open_session() -> Coordination:
            return MemoryCoordination(server)
    else:
        hosts = request.getfixturevalue("real_hosts")

        def open_session() -> Coordination:
            return KazooCoordination(hosts)

    def connect_one() -> Coordination:
        session = open_session()
        session.start()
        opened.append(session)
        wait_until(lambda: session.connected)
        return session

    yield connect_one
    for session in opened:
        session.stop()
