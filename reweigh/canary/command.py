"""`reweigh canary`: runs until it is told to end."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from reccore.errors import SettingError
from reweigh.canary.canary import Canary
from reweigh.canary.metrics import Metrics
from reweigh.http_client import Service
from reweigh.metrics_page import served
from reweigh.repeating import again_and_again, interruptible
from reweigh.settings import read_settings


def canary(options: argparse.Namespace) -> int:
    """Send an event every few seconds until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    settings, metrics = read_settings(options.env), Metrics()
    shop = Service(settings.required("API_URL"))
    port = os.environ.get("CANARY_METRICS_PORT") or "0"
    if not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise SettingError("CANARY_METRICS_PORT", port, "a port, or 0 for none")
    host = os.environ.get("CANARY_METRICS_HOST") or "127.0.0.1"
    with interruptible(), served(metrics.registry, host, int(port), "CANARY_METRICS_PORT"):
        try:
            again_and_again(options.every, Canary(shop, metrics).turn)
        except KeyboardInterrupt:
            return 0
