"""How far a command is, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from tqdm import tqdm


class Tell(Protocol):
    """What is told of the progress."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """So much of ``what`` is done."""
        ...


class Bars:
    """One progress bar after the other; a line every five seconds where there is no terminal."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._what = ""

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def tell(self, what: str, done: int, total: int) -> None:
        """Show that so much of ``what`` is done."""
        bar = self._bar
        if bar is None or what != self._what or done < bar.n:
            self._finish()
            slow = 0.1 if sys.stderr.isatty() else 5.0
            self._bar = bar = tqdm(desc=what, unit="", unit_scale=True, mininterval=slow)
            self._what = what
        bar.total = max(total, done)
        bar.update(done - bar.n)

    def say(self, line: str) -> None:
        """Print a line between the bars."""
        self._finish()
        print(line, file=sys.stderr, flush=True)

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def timed_lines() -> Callable[[str], None]:
    """Give what prints lines on standard error, each with the seconds since now."""
    began = time.monotonic()
    return lambda line: print(f"[{time.monotonic() - began:5.0f} s] {line}", file=sys.stderr, flush=True)
