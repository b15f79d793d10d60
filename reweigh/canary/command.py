"""`reweigh canary`: runs until it is told to end."""

from __future__ import annotations

import argparse
from typing import Final

from reweigh.canary.canary import Canary
from reweigh.canary.metrics import Metrics
from reweigh.canary.outcome import StoredOutcome
from reweigh.http_client import Service
from reweigh.metrics_page import metrics_port, served
from reweigh.repeating import again_and_again, interruptible
from reweigh.settings import read_settings, values_and_own

SETTINGS: Final = ("CANARY_METRICS_PORT", "CANARY_METRICS_HOST")


def canary(options: argparse.Namespace) -> int:
    """Send an event every few seconds until SIGTERM or Ctrl-C."""
    settings, metrics = read_settings(options.env), Metrics()
    shop = Service(settings.required("API_URL"))
    own = values_and_own(options.env, SETTINGS)
    port, host = metrics_port(own, "CANARY_METRICS_PORT"), own.get("CANARY_METRICS_HOST") or "127.0.0.1"
    outcome = StoredOutcome(settings.redis_url) if settings.redis_url else None
    turn = Canary(shop, metrics, outcome.note if outcome else _tell_nobody).turn
    with interruptible(), served(metrics.registry, host, port, "CANARY_METRICS_PORT"):
        try:
            again_and_again(options.every, turn)
        except KeyboardInterrupt:
            return 0
        finally:
            if outcome:
                outcome.close()


def _tell_nobody(_outcome: str, _seconds: float) -> None:
    """Of a canary that knows no Redis, only the metrics tell."""
