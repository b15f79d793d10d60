"""Waiting for what real servers bring about, with more patience than any machine should need."""

from __future__ import annotations

from collections.abc import Callable

from tests import waiting

PATIENCE_SECONDS = 240


def wait_until(what: str, true: Callable[[], object]) -> None:
    """Wait until ``true`` gives something true; fail with ``what`` was waited for."""
    waiting.wait_until(true, PATIENCE_SECONDS, what=what, pause=0.1)
