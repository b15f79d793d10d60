"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from hypothesis import settings

# No test asserts a time: machines are shared.
settings.register_profile("reweigh", deadline=None)
settings.load_profile("reweigh")


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Whatever a test starts, it stops: at the end no child process of the test run is left."""
    yield
    left = [child for child in psutil.Process().children(recursive=True) if _runs(child)]
    assert not left, f"still running: {left}"


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
