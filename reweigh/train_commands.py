"""The arguments of `reweigh train`; what it does, and all that it needs, is imported when it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from reweigh.arguments import add_command, add_env, duration, positive
from reweigh.errors import need

_TRAIN: Final = """Train neighbours and ALS factors on everybody's events, measure them beside the most popular
products, and publish them to Redis, where every service finds them within about a second.

The newest fifth of the events of some people is held out first: half of these people choose the blend, the other half
measure all rankings. Then everything is trained on. Weights are those in force, unless given; a later change of the
weights needs no training. Exit code 1: it could not be trained or published; the model before goes on."""


def add_train_command(subparsers: Any) -> None:
    """Describe `reweigh train`."""
    what = "train the models that recommendations are made by, and publish them"
    train = add_command(subparsers, "train", what, _run, _TRAIN)
    train.add_argument(
        "--from", dest="source", choices=("topics", "archive"), default="topics", help="where the events are read"
    )
    train.add_argument("--url", metavar="URL", help="the archive: a folder, s3://…, hdfs://…; default: ARCHIVE_URL")
    train.add_argument(
        "--data", type=Path, nargs="+", metavar="DIR|FILE", help="read these files instead, as `reweigh eval` does"
    )
    train.add_argument("--weights", metavar="V,C,P", help="default: those in force, or 1,3,5 where there are none")
    train.add_argument("--every", type=duration, metavar="TIME", help="train again and again, e.g. 1h, until SIGTERM")
    train.add_argument("--dry-run", action="store_true", help="train and measure, publish nothing")
    train.add_argument("--neighbours", type=positive, default=50, metavar="N", help="of each product (50)")
    train.add_argument("--factors", type=positive, default=32, metavar="N", help="of ALS (32)")
    train.add_argument("--iterations", type=positive, default=10, metavar="N", help="of ALS (10)")
    train.add_argument("--alpha", type=_number, default=1.0, metavar="X", help="confidence of ALS (1)")
    train.add_argument("--regularization", type=_above_0, default=10.0, metavar="X", help="of ALS (10)")
    train.add_argument("--people", type=positive, default=4_000, metavar="N", help="choose and measure by these (4000)")
    train.add_argument("--output", choices=("text", "json"), default="text")
    add_env(train)


def _run(options: argparse.Namespace) -> int:
    return int(need("reweigh.train.command", "train").train(options))


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: a number of at least 0 is allowed")
    return found


def _above_0(text: str) -> float:
    found = _number(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: a number above 0 is allowed")
    return found
