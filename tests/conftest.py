"""What holds for every test."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings
from kazoo.client import KazooClient

from deploy.local import Stack

# No test asserts a time: machines are shared.
settings.register_profile("reweigh", deadline=None)
settings.load_profile("reweigh")

_NUMBERS = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Whatever a test starts, it stops: at the end no child process of the test run is left."""
    yield
    left = [child for child in psutil.Process().children(recursive=True) if _runs(child)]
    assert not left, f"still running: {left}"


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


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
