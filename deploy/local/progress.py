"""What a person sees while the stack starts and stops."""

from __future__ import annotations

import time
from collections.abc import Callable

from deploy.local.home import Home

_TAIL_LINES = 25


def silent(line: str) -> None:
    """Take a line about the progress and say nothing."""


class Progress:
    """Lines about the progress, each with the seconds since `begin`."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._began = time.monotonic()
        self._last = ""

    def begin(self) -> None:
        """Count the seconds from now."""
        self._began = time.monotonic()

    def done(self, what: str, detail: str = "") -> None:
        """Say that a part is done."""
        self._tell(f"  {time.monotonic() - self._began:5.1f} s  {what:<12} {detail}".rstrip())

    def say(self, text: str) -> None:
        """Say something else."""
        self._tell(f"  {time.monotonic() - self._began:5.1f} s  {text}")

    def once(self, text: str) -> None:
        """Say something, but not twice in a row."""
        if text != self._last:
            self.say(text)
            self._last = text


def log_tail(home: Home, server: str, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a server's log."""
    file = home.log / f"{server}.log"
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return f"({file} does not exist)"
    return "\n".join(text.splitlines()[-lines:]) or f"({file} is empty)"
