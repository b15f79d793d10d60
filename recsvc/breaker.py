"""A circuit breaker: who has just seen a server away does not ask it for every request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

PROBE_SECONDS = 0.1


class Breaker:
    """Open after one failure; a thread of its own probes until the server answers, and then closes it.

    So a server that is away costs the requests in flight one time limit, and no later request anything.
    """

    def __init__(self, name: str, probe: Callable[[], bool], probe_seconds: float = PROBE_SECONDS) -> None:
        self._name, self._probe, self._probe_seconds = name, probe, probe_seconds
        self._open = False
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_open(self) -> bool:
        """Whether the server is not asked now."""
        return self._open

    def start(self) -> None:
        """Start the probing thread, after any fork."""
        self._thread = threading.Thread(target=self._run, name=f"{self._name}-probe", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(5)

    def failed(self, why: object) -> None:
        """Tell that the server did not answer."""
        if not self._open:
            self._open = True
            log.warning("%s is away (%s); answers come from memory", self._name, why)
            self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._open:
                if self._stopping.wait(self._probe_seconds):
                    return
                if self._probe():
                    self._open = False
                    log.warning("%s answers again", self._name)
            if self._stopping.is_set():
                return
