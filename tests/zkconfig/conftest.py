"""Sessions with ZooKeeper, real or in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from kazoo.client import KazooClient

from tests.waiting import wait_until
from zkconfig.coordination import Coordination
from zkconfig.kazoo_client import KazooCoordination
from zkconfig.memory import MemoryCoordination, MemoryServer


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
