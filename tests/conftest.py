"""What holds for every test."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings
from kazoo.client import KazooClient
from xdist.scheduler import LoadScopeScheduling

from deploy.local import Stack
from recsvc.log_lines import JsonLines, TextLines
from tests.servers import fresh_stack

# No test asserts a time: machines are shared.
settings.register_profile("reweigh", deadline=None)
settings.load_profile("reweigh")

_NUMBERS = itertools.count()


_LONGEST = ("end_to_end", "grafana", "bench", "security", "stack", "rabbitmq")
"""The packages whose tests take longest, in the order in which they are begun."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that two processes end at about the same time."""
    items.sort(key=lambda item: (*_LONGEST, item.path.parent.name).index(item.path.parent.name))


class ByPackage(LoadScopeScheduling):
    """Keeps each package in one process: its tests share servers, and some go on where others have ended."""

    def _split_scope(self, nodeid: str) -> str:
        return str(Path(nodeid.partition("::")[0]).parent)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByPackage:
    """Give tests to several processes by package."""
    return ByPackage(config, log)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Whatever a test starts, it stops: at the end no child process of the test run is left."""
    yield
    left = [child for child in psutil.Process().children(recursive=True) if _runs(child)]
    assert not left, f"still running: {left}"


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """A command that a test runs sets the log of the whole process: what others see of it stays as it was."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    for handler in [each for each in root.handlers if isinstance(each.formatter, JsonLines | TextLines)]:
        root.removeHandler(handler)


@pytest.fixture(scope="session")
def zookeeper_stack() -> Iterator[Stack]:
    """A stack of ZooKeeper alone, started once."""
    with fresh_stack("zookeeper") as stack:
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
