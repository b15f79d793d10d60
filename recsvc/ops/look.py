"""Looking at a server that may be slow or away, without making a viewer wait for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from reccore.errors import ReweighError

log = logging.getLogger(__name__)

FRESH_SECONDS: Final = 1.0
"""For so long a look stands for all viewers."""
PATIENCE_SECONDS: Final = 0.6
"""So long a page waits for all of its looks together."""

_MOST_PARTS: Final = 10

Part = dict[str, Any]


class Look:
    """One thing to look at; ``read`` may raise ``ReweighError`` and take as long as it likes: one call at a time."""

    def __init__(self, read: Callable[[], Part], fresh_seconds: float = FRESH_SECONDS) -> None:
        self._read, self._fresh_seconds = read, fresh_seconds
        self._lock = threading.Lock()
        self._future: Future[Part] | None = None
        self._done_at = 0.0

    def begin(self, pool: ThreadPoolExecutor) -> Future[Part]:
        """Give the look that is at work or still fresh, else begin one."""
        with self._lock:
            future = self._future
            if future is None or (future.done() and time.monotonic() - self._done_at >= self._fresh_seconds):
                future = self._future = pool.submit(self._timed)
            return future

    def _timed(self) -> Part:
        try:
            return self._read()
        finally:
            self._done_at = time.monotonic()


class Looks:
    """Several looks at once, each with a thread; a server that does not answer holds up its own part only."""

    def __init__(self, reads: Mapping[str, Callable[[], Part]], patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._looks = {name: Look(read) for name, read in reads.items()}
        self._patience_seconds = patience_seconds
        # Its threads begin with the first look, so after any fork.
        self._pool = ThreadPoolExecutor(max_workers=_MOST_PARTS, thread_name_prefix="ops")

    def add(self, name: str, read: Callable[[], Part]) -> None:
        """Look at one thing more."""
        self._looks[name] = Look(read)

    def take(self, *names: str) -> dict[str, Part]:
        """Give the parts of these names: ``error`` says what is away, and is None where the other members tell."""
        until = time.monotonic() + self._patience_seconds
        begun = {name: self._looks[name].begin(self._pool) for name in names}
        return {name: _part(name, future, until - time.monotonic()) for name, future in begun.items()}

    def stop(self) -> None:
        """Wait for looks at work, which end by the time limits of their servers."""
        self._pool.shutdown(cancel_futures=True)


def _part(name: str, future: Future[Part], seconds: float) -> Part:
    try:
        return {"error": None, **future.result(max(0.0, seconds))}
    except TimeoutError:
        return {"error": "no answer in time"}
    except ReweighError as exc:
        return {"error": str(exc)}
    except Exception:
        log.exception("the part %s of the page can't be shown", name)
        return {"error": "the service failed; its log says why"}
