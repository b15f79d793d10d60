"""The arguments of `reweigh archive`; what the commands do, and all that they need, is imported when one runs."""

from __future__ import annotations

import argparse
from datetime import date
from typing import Any, Final

from reweigh.arguments import add_command, add_env, add_group, positive
from reweigh.errors import need

_RUN: Final = """Follow the event topics, or with --data-set ratings the topic of ratings, and write every accepted
record once to Parquet files, by day of its own time.

Goes on where the archive ends. What the store refuses (a full disk, a read-only folder) is tried again until it
succeeds; SIGTERM and Ctrl-C write what is buffered first. One at a time for an archive."""

_COMPACT: Final = """Merge the small files of each day, or of one day, into one that is sorted by time.

Works beside a running `reweigh archive run`, which does the same by itself for days that have become quiet."""

_SEND: Final = """Send every event to the topic of its type: for a new Kafka, where nothing is left of the one that the
archive is of. The job counts them as they come.

An event without an event_id gets one made of the place that it had: sent twice it counts once (within the job's
deduplication window)."""


def add_archive_commands(subparsers: Any) -> None:
    """Describe `reweigh archive …`."""
    commands = add_group(subparsers, "archive", "every event, and every rating, in Parquet files")
    _add(commands, "run", "follow the topics and write them", _RUN)
    read = _add(commands, "read", "print the rows of a day")
    read.add_argument("--day", type=_day, required=True, metavar="YYYY-MM-DD", help="day of event time, UTC")
    read.add_argument("--output", choices=("jsonl", "csv", "parquet"), default="jsonl")
    read.add_argument("--user", metavar="ID", help="those of this user only")
    read.add_argument("--limit", type=positive, metavar="N", help="at most so many")
    compact = _add(commands, "compact", "merge small files", _COMPACT)
    compact.add_argument("--day", type=_day, metavar="YYYY-MM-DD", help="this day only")
    compact.add_argument("--smaller-than", type=positive, default=64, metavar="MB", help="what counts as small (64)")
    _add(commands, "send", "send its events to a Kafka that has lost them", _SEND)
    stats = _add(commands, "stats", "show days, files, rows, offsets and lag")
    stats.add_argument("--output", choices=("text", "json"), default="text")


def _add(commands: Any, name: str, what: str, description: str = "") -> argparse.ArgumentParser:
    parser = add_command(commands, name, what, _run, description)
    parser.set_defaults(action=name, data_set="events")
    if name != "send":
        which = "what is archived, each in a place of its own (events)"
        parser.add_argument("--data-set", choices=("events", "ratings"), help=which)
    parser.add_argument(
        "--url",
        metavar="URL",
        help="the archive: a folder, s3://…, hdfs://…; default: ARCHIVE_URL or ARCHIVE_RATINGS_URL",
    )
    add_env(parser)
    return parser


def _run(options: argparse.Namespace) -> int:
    command = need("reweigh.archive.command", "archive")
    actions = (command.run, command.read, command.compact, command.send, command.stats)
    return int({action.__name__: action for action in actions}[options.action](options))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r}: a day as YYYY-MM-DD is allowed") from exc
