"""The arguments of `reweigh recommend publish`."""

from __future__ import annotations

import argparse
from typing import Any, Final

from reweigh.arguments import add_command, add_env, add_group, positive
from reweigh.errors import need

_PUBLISH: Final = """Send each user's current recommendations to the topic recommendations, from where `reweigh follow`
keeps them in Redis for clients that want lists without asking the service.

How far it is stands in Redis: the same command goes on with a run that was interrupted within the last hour. Somebody
may then be sent twice; nobody is left out who was there all the time."""


def add_publish_commands(subparsers: Any) -> None:
    """Describe it."""
    group = add_group(subparsers, "recommend", "recommendations computed ahead")
    publish = add_command(group, "publish", "send everybody's lists to Kafka", _publish, _PUBLISH)
    publish.add_argument("--n", type=_products, default=20, metavar="N", help="products of each list (20)")
    publish.add_argument("--processes", type=positive, metavar="N", help="default: as many as there are processors")
    publish.add_argument("--restart", action="store_true", help="from the beginning, also after an interrupted run")
    add_env(publish)


def _publish(options: argparse.Namespace) -> int:
    return int(need("reweigh.publishing.command", "publish").publish(options))


def _products(text: str) -> int:
    found = positive(text)
    if found > 100:
        raise argparse.ArgumentTypeError(f"{text!r}: at most 100 are allowed")
    return found
