"""One thread for what must not hold up a caller or ZooKeeper's callback thread."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from zkconfig.errors import ConfigError

log = logging.getLogger(__name__)


class Background:
    """Runs calls one at a time. A ``ConfigError`` is logged and forgotten: what matters is done again later."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._repeated: list[tuple[float, Callable[[], None]]] = []
        self._due: list[float] = []
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Start the thread, in the process that calls (a fork does not take threads along)."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Finish the call at work and drop the others."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def submit(self, call: Callable[[], None]) -> None:
        """Run ``call`` once, after those submitted before."""
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Run ``call`` every ``seconds``, the first time after as long."""
        with self._changed:
            self._repeated.append((seconds, call))
            self._due.append(time.monotonic() + seconds)
            self._changed.notify_all()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except ConfigError as exc:
                log.info("%s; it is tried again", exc)
            except Exception:
                log.exception("a background task of %s failed", self._name)

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._stopping:
                if self._calls:
                    return self._calls.popleft()
                now = time.monotonic()
                for position, due in enumerate(self._due):
                    if due <= now:
                        seconds, call = self._repeated[position]
                        self._due[position] = now + seconds
                        return call
                self._changed.wait(min(self._due) - now if self._due else None)
        return None


class RunsInBackground(ABC):
    """What every fulfilment of :class:`zkconfig.coordination.Coordination` does alike with calls in the background."""

    def __init__(self, name: str) -> None:
        self._background = Background(name)
        self._calls_when_connected: list[Callable[[], None]] = []

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether the session is connected now."""

    def on_connected(self, call: Callable[[], None]) -> None:
        """Run ``call`` in the background after each connection, and at once when connected already."""
        self._calls_when_connected.append(call)
        if self.connected:
            self.submit(call)

    def submit(self, call: Callable[[], None]) -> None:
        """Run ``call`` in the background."""
        self._background.submit(call)

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Run ``call`` in the background every ``seconds``."""
        self._background.every(seconds, call)

    def connection_came(self) -> None:
        """Run in the background what is due after each connection."""
        for call in self._calls_when_connected:
            self.submit(call)
