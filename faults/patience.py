"""Waiting for what real servers bring about, with more patience than any machine should need."""

from __future__ import annotations

import time
from collections.abc import Callable

from faults.errors import DoesNotHold

PATIENCE_SECONDS = 240


def wait_until(what: str, true: Callable[[], object], seconds: float = PATIENCE_SECONDS, pause: float = 0.1) -> float:
    """Wait until ``true`` gives something true, and give the seconds that it took.

    Raises:
        DoesNotHold: It did not; ``what`` names what was waited for.
    """
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            raise DoesNotHold(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
    return time.monotonic() - began
