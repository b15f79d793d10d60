"""The arguments of `reweigh canary`."""

from __future__ import annotations

import argparse
from typing import Any, Final

from reweigh.arguments import add_command, add_env, duration
from reweigh.errors import need

_CANARY: Final = """Send an event of the user reweigh-canary every few seconds, over HTTP, and ask for that user's
recommendations until the event is in the answer. CANARY_METRICS_PORT and CANARY_METRICS_HOST (127.0.0.1) say where
GET /metrics is answered, with event_to_recommendation_seconds. Where REDIS_URL is set, the last measurement is left in
Redis, from where the service shows it at /ops. Ends on SIGTERM or Ctrl-C.

The canary's product and tag are shown to nobody, and no model learns of them. Needs RECENT_EVENTS above 0."""


def add_canary_command(subparsers: Any) -> None:
    """Describe it."""
    canary = add_command(subparsers, "canary", "measure how fresh answers are, again and again", _canary, _CANARY)
    canary.add_argument("--every", type=duration, default=5, metavar="TIME", help="e.g. 5s (the default) or 1m")
    add_env(canary)


def _canary(options: argparse.Namespace) -> int:
    return int(need("reweigh.canary.command", "follow").canary(options))
