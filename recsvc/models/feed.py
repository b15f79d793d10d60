"""Keeps the newest trained model in memory: asks once a second which one it is, and loads it when it is another."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from recsvc.errors import BrokenModel, StoreUnavailable
from recsvc.models.model import BLEND
from recsvc.models.scorer import Scorer
from recsvc.models.store import ModelStore

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 60.0
"""After so long a model that could not be read is tried again: it may have been exchanged just while it was read."""


class ModelFeed:
    """A thread that reads models from Redis. The last good one stays, whatever happens to Redis or to a newer one."""

    def __init__(self, store: ModelStore, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._store, self._poll_seconds = store, poll_seconds
        self._scorer: Scorer | None = None
        self._seen: tuple[str, str] | None = None
        self._refused: tuple[tuple[str, str], float] | None = None
        self._away = False
        self._loaded = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def scorer(self) -> Scorer | None:
        """What ranks by the newest model; None before there was one."""
        return self._scorer

    @property
    def loaded(self) -> bool:
        """Whether Redis was asked at least once, and had no model or a good one."""
        return self._loaded

    def start(self) -> None:
        """Start the thread, after any fork."""
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and disconnect."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(15)
        self._store.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.refresh()
            except Exception:
                log.exception("models could not be read")
            self._stopping.wait(self._poll_seconds)

    def refresh(self) -> None:
        """Load the model that is applied, if it is another than the one that is held."""
        try:
            current = self._store.current()
            if self._away:
                log.info("models can be read again")
                self._away = False
            name = (current.get("version", ""), current.get("trained_at", ""))
            if not current or name == self._seen or self._is_refused(name):
                self._loaded = self._loaded or not current
                return
            model = self._store.load(current)
        except StoreUnavailable as exc:
            if not self._away:
                log.warning("models can't be read now, the last one stays: %s", exc)
            self._away = True
        except BrokenModel as exc:
            if self._refused is None or self._refused[0] != name:
                log.error("model %s of %s can't be used, the last one stays: %s", *name, exc)
            self._refused = (name, time.monotonic())
        else:
            self._scorer, self._seen, self._refused, self._loaded = Scorer(model), name, None, True
            log.info("model %s of %s, %d products", *name, len(model.product_ids))

    def _is_refused(self, name: tuple[str, str]) -> bool:
        if self._refused is None or self._refused[0] != name:
            return False
        return time.monotonic() - self._refused[1] < _AGAIN_SECONDS


def served(scorer: Scorer | None) -> Scorer | None:
    """Give the model to rank by; none where training has measured that something else does better."""
    return scorer if scorer is not None and scorer.model.best == BLEND else None
