"""Waiting for what real servers bring about, with more patience than any machine should need."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 240


def wait_until(what: str, true: Callable[[], object]) -> None:
    """Wait until ``true`` gives something true; fail with ``what`` was waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.1)
