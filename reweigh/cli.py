"""`reweigh`: the command line.

Each command imports what it needs when it runs, since a machine may have only some of the extras.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from reccore.errors import ReweighError
from reccore.job import JOB_NAME
from reweigh import commands
from reweigh.archive_commands import add_archive_commands
from reweigh.arguments import add_command, add_env, add_group, not_negative, positive
from reweigh.bridge_commands import add_bridge_commands
from reweigh.canary_command import add_canary_command
from reweigh.catalog_commands import add_catalog_commands
from reweigh.feature_commands import add_feature_commands
from reweigh.lines import AUTO, FORMATS
from reweigh.publish_commands import add_publish_commands
from reweigh.settings import export_settings
from reweigh.topic_commands import add_topic_commands
from reweigh.train_commands import add_train_command
from zkconfig.cli import add_weights_commands

_LOAD: Final = """Send the events of a file to Kafka: each to the topic of its type, keyed by user id.

JSON lines have one event a line. CSV begins with a header of field names (user_id, product_id or item_id, event_type or
action, timestamp or process_time, event_id, session_id, metadata as JSON, tags separated by |); Parquet has columns of
these names. RetailRocket's events.csv is read as it is; of the folder that holds its other files too, the catalogue is
stored first, the tags of a product being its categories. Behaviour files (CSV, JSON lines, Parquet) hold the same under
the names of other shops and data sets, or ratings.

An event without an event_id gets one made of its line number and content: the same file loaded twice counts once
(within the job's deduplication window), and equal lines of one file stay distinct.

A load that was interrupted goes on where it was when the same command is run again: .NAME.loading beside the file says
what Kafka has acknowledged, and is removed at the end."""

_EVAL: Final = """Replay a data set up to a point in time, answer everybody by what the job keeps and by models that
are trained on the same, and measure the answers by the events that came afterwards, beside the most popular products.

Relevant are the distinct products of a person's later events, each of gain 1, without those left out; intervals are
bootstrapped over people."""

_VERIFY: Final = """Count every event in Kafka anew, by code that shares nothing with the job, and compare the result
with every field in Redis: profiles, counts, purchases, statistics and totals, both ways. Works on a running system.

Exit code 0: nothing differs; 1: something does, or it can't be told, since the log is not complete any more."""

_REPLAY: Final = """Count the complete log anew with a second job, at full speed, into the Redis database beside the
live one, while the live job and the service go on; then stop the old job, exchange the two databases at once, and go on
from the new job's state. On a Redis Cluster it counts under other keys, which take the place of the live ones slot by
slot; if that is interrupted, the same command goes on with it.

For Redis that has lost its data, another list of event types or another window, a job that can't read its old state.
Exit code 1: it could not be done, or with --check: what is live differs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give the exit code: 0 done, 1 something is wrong, 2 wrong arguments."""
    options = build_parser().parse_args(arguments)
    try:
        if options.command == "weights":  # it looks for addresses in the environment only
            export_settings()
        return int(options.run(options))
    except ReweighError as exc:
        print(f"reweigh: {exc}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has stopped reading
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Describe every command."""
    parser = argparse.ArgumentParser(prog="reweigh", description="Real-time recommendations with changeable weights.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(subparsers)
    _add_data(subparsers)
    _add_load(subparsers)
    add_bridge_commands(subparsers)
    add_canary_command(subparsers)
    add_catalog_commands(subparsers)
    add_feature_commands(subparsers)
    _add_eval(subparsers)
    add_train_command(subparsers)
    add_publish_commands(subparsers)
    add_topic_commands(subparsers)
    _add_doctor(subparsers)
    _add_verify(subparsers)
    _add_weights(subparsers)
    _add_job(subparsers)
    _add_replay(subparsers)
    add_archive_commands(subparsers)
    _add_stack(subparsers)
    return parser


def _add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder of the local stack; default: .local")


def _add_demo(subparsers: Any) -> None:
    demo = add_command(
        subparsers, "demo", "start everything, load MovieLens, show an answer and a weights change", commands.demo
    )
    demo.add_argument("--person", default=None, metavar="ID", help="whose answer is shown (1 to 943)")


def _add_data(subparsers: Any) -> None:
    group = add_group(subparsers, "data", "write a data set to load or to evaluate with")
    movielens = add_command(group, "movielens", "MovieLens-100k as events and products", commands.data_movielens)
    movielens.add_argument("--out", type=Path, default=Path("data/movielens"), metavar="DIR")
    movielens.add_argument("--cache", type=Path, default=None, metavar="DIR", help="where the download is kept")
    shop = add_command(group, "shop", "a made-up shop, the same for the same arguments", commands.data_shop)
    shop.add_argument("--users", type=positive, default=10_000, metavar="N")
    shop.add_argument("--products", type=positive, default=2_000, metavar="N")
    shop.add_argument("--events", type=positive, default=1_000_000, metavar="N")
    shop.add_argument("--seed", type=not_negative, default=1, metavar="N")
    shop.add_argument("--out", type=Path, default=Path("data/shop"), metavar="DIR")
    for each in (movielens, shop):
        each.add_argument("--with-tags", action="store_true", help="name the tags in each event, not only by product")


def _add_load(subparsers: Any) -> None:
    load = add_command(subparsers, "load", "send the events of a file to Kafka", commands.load, _LOAD)
    load.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="Parquet, JSON lines or CSV, these also gzipped (.gz); or the folder of RetailRocket's files",
    )
    load.add_argument("--format", choices=FORMATS, default=AUTO)
    load.add_argument("--bootstrap", metavar="HOST:PORT", help="the broker; default: KAFKA_BOOTSTRAP")
    load.add_argument("--no-validate", action="store_true", help="send lines unjudged; the job refuses what is wrong")
    load.add_argument("--rejected", type=Path, metavar="FILE", help="write every rejected line with its reason there")
    load.add_argument(
        "--namespace", default="", metavar="TEXT", help="part of made ids: keeps equal lines of two files distinct"
    )
    add_env(load)


def _add_eval(subparsers: Any) -> None:
    evaluate = add_command(subparsers, "eval", "measure the answers beside most-popular", commands.evaluate, _EVAL)
    evaluate.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR|FILE")
    evaluate.add_argument(
        "--weights", action="append", metavar="V,C,P", help="repeatable; default: 1,3,5 and 1,1,1 and 0,0,1"
    )
    evaluate.add_argument("--n", type=positive, default=10, metavar="N", help="length of the lists")
    evaluate.add_argument(
        "--at",
        default="0.8",
        metavar="FRACTION|TIME",
        help="the part of each person's events that is known (0.8), or a time (ISO 8601 or epoch) for everybody",
    )
    evaluate.add_argument(
        "--everybody", action="store_true", help="a FRACTION is of all events: one point in time for everybody"
    )
    evaluate.add_argument("--relevant", metavar="TYPE[,TYPE]", help="only held-out events of these types count")
    evaluate.add_argument(
        "--leave-out",
        choices=("history", "purchases"),
        default="history",
        help="what nobody is shown by any ranking: the products of the person's history, or those bought",
    )
    evaluate.add_argument("--most-people", type=positive, metavar="N", help="measure a sample of people")
    evaluate.add_argument("--output", choices=("table", "json"), default="table")


def _add_doctor(subparsers: Any) -> None:
    what = "check that Kafka, Redis and ZooKeeper take and give back a message, a key, a node"
    doctor = add_command(subparsers, "doctor", what, commands.doctor)
    add_env(doctor)


def _add_verify(subparsers: Any) -> None:
    verify = add_command(
        subparsers, "verify", "count the log anew and compare every field in Redis", commands.verify, _VERIFY
    )
    verify.add_argument("--group", default=JOB_NAME, metavar="NAME", help="the job's consumer group")
    verify.add_argument(
        "--window-seconds",
        type=positive,
        default=None,
        metavar="N",
        help="how long the job remembers an event id; default: DEDUPLICATION_WINDOW_SECONDS, else 7 days",
    )
    verify.add_argument(
        "--from",
        dest="log",
        choices=("topics", "archive"),
        default="topics",
        help="archive: read there what it holds (ARCHIVE_URL), and from Kafka what came after",
    )
    verify.add_argument(
        "--namespace",
        default="",
        metavar="NAME",
        help="compare what a replay has kept on a Redis Cluster under this name",
    )
    verify.add_argument("--output", choices=("text", "json"), default="text")
    add_env(verify)


def _add_weights(subparsers: Any) -> None:
    add_weights_commands(subparsers)


def _add_job(subparsers: Any) -> None:
    group = add_group(subparsers, "job", "the profile job of the local stack")
    submit = add_command(
        group, "submit", "start it, from its newest state, or the first record where there is none", commands.job
    )
    submit.add_argument(
        "--anew",
        action="store_true",
        help="count in place where it can't read the state there is, or Kafka has deleted first records",
    )
    submit.set_defaults(action="submit")
    _add_home(submit)
    for name, what in (
        ("stop", "stop it with a savepoint"),
        ("status", "show it and its newest checkpoint"),
        ("command", "print the command line that would submit it"),
    ):
        job = add_command(group, name, what, commands.job)
        job.set_defaults(action=name)
        _add_home(job)
    resume = add_command(group, "resume", "start it from its newest savepoint or checkpoint", commands.job)
    resume.add_argument("--from", dest="path", type=Path, metavar="DIR", help="from this one")
    resume.set_defaults(action="resume")
    _add_home(resume)
    rescale = add_command(group, "rescale", "stop it with a savepoint, go on with another parallelism", commands.job)
    rescale.add_argument("parallelism", type=positive, metavar="N")
    rescale.set_defaults(action="rescale")
    _add_home(rescale)


def _add_replay(subparsers: Any) -> None:
    replay = add_command(
        subparsers, "replay", "count the whole log anew beside the live system", commands.replay, _REPLAY
    )
    ends = replay.add_mutually_exclusive_group()
    ends.add_argument("--check", action="store_true", help="rebuild and compare with what is live; change nothing")
    ends.add_argument("--keep", action="store_true", help="leave what is rebuilt as it is; change nothing else")
    ends.add_argument("--drop", action="store_true", help="remove what was kept under --namespace; no more")
    replay.add_argument(
        "--database", type=not_negative, metavar="N", help="Redis database to rebuild in; default: the next one"
    )
    replay.add_argument("--namespace", metavar="NAME", help="on a Redis Cluster: the name under which to rebuild")
    replay.add_argument(
        "--from",
        dest="since",
        default="",
        metavar="archive|ts=TIME|last=24h",
        help="archive: take from there (ARCHIVE_URL) what Kafka has deleted; a time: only records of this Kafka time "
        "on, with --check or --keep",
    )
    _add_home(replay)


def _add_stack(subparsers: Any) -> None:
    group = add_group(subparsers, "stack", "the local stack, as make up, down and status")
    for name, what in (("up", "start or repair it"), ("down", "stop it"), ("status", "show its parts")):
        add_command(group, name, what, commands.stack).set_defaults(action=name)


if __name__ == "__main__":
    sys.exit(main())
