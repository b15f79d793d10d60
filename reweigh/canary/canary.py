"""Sends an event through the whole system and asks for it until it is in an answer, as a shop would see it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from reccore.canary import CANARY, LATE, REFUSED, SEEN
from reweigh.canary.metrics import Metrics
from reweigh.errors import CommandError

log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.02


class Shop(Protocol):
    """The service, as the canary uses it. Every call raises :class:`CommandError`."""

    def send_event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """``POST /update``: what it was acknowledged with."""

    def recommend(self, user_id: str, n: int, after: str = "") -> dict[str, Any]:
        """``GET /recommend/<user_id>``."""


class Canary:
    """One event at a time; ``patience_seconds`` is how long it is waited for.

    ``tell`` is told what became of each event, and after how many seconds.
    """

    def __init__(
        self,
        shop: Shop,
        metrics: Metrics,
        tell: Callable[[str, float], None],
        *,
        patience_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._shop, self._metrics, self._tell, self._patience_seconds = shop, metrics, tell, patience_seconds
        self._clock, self._sleep = clock, sleep

    def turn(self) -> None:
        """Send one event, and measure until it is seen or given up.

        An event that was refused is measured as one that was given up: it will be in no answer.
        """
        began = self._clock()
        event = {"user_id": CANARY, "product_id": CANARY, "event_type": "view", "tags": [CANARY]}
        try:
            position = self._shop.send_event(event)["position"]
        except CommandError as exc:
            log.warning("the event was not acknowledged: %s", exc)
            self._note(REFUSED, self._patience_seconds)
            return
        problem = "it is pending"
        while (seconds := self._clock() - began) < self._patience_seconds:
            try:
                state = self._shop.recommend(CANARY, 1, after=position)["after"]["state"]
            except CommandError as exc:
                problem = str(exc)
            else:
                if state == "applied":
                    self._note(SEEN, self._clock() - began)
                    return
                problem = f"it is {state}"
            self._sleep(_PAUSE_SECONDS)
        log.warning("event %s was in no answer after %.0f s: %s", position, seconds, problem)
        self._note(LATE, seconds)

    def _note(self, outcome: str, seconds: float) -> None:
        self._metrics.events.labels(outcome).inc()
        self._metrics.freshness.observe(seconds)
        self._tell(outcome, seconds)
