"""Waiting for what another thread or process brings about."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], object], seconds: float = 15.0, *, what: str = "it came about", pause: float = 0.01
) -> None:
    """Poll until ``condition`` holds; fail after ``seconds`` with ``what`` was waited for."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(pause)
