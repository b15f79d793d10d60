"""`reweigh weights get|set|status`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reccore.access import zookeeper_auth_setting
from reccore.errors import ReweighError, WeightsError
from reccore.event_types import EventTypes
from reccore.weights import Weights, parse_weights
from zkconfig.coordination import Coordination
from zkconfig.errors import ConfigUnavailable, VersionMismatch
from zkconfig.kazoo_client import KazooCoordination
from zkconfig.presence import read_members
from zkconfig.publisher import WeightsPublisher

CONNECT_SECONDS = 10.0
_BY = "reweigh weights set"


def add_weights_commands(subparsers: Any) -> None:
    """Register ``weights`` and its commands; each sets ``run``, which takes the arguments and gives the exit code."""
    parser = subparsers.add_parser("weights", help="show and change the weights in force")
    commands = parser.add_subparsers(dest="weights_command", required=True, metavar="COMMAND")
    add = _adder(commands)
    add("get", "print the weights in force and their version", get_weights)
    setting = add("set", "put new weights in force", set_weights)
    setting.add_argument("weights", nargs="+", metavar="NAME=NUMBER", help="all weights, or one JSON object")
    setting.add_argument("--if-version", type=int, help="only if this version is in force")
    add("status", "list the processes and the version that each has in force", show_status)


def get_weights(arguments: argparse.Namespace) -> int:
    """Print the weights in force as JSON."""
    with _connected(arguments) as coordination:
        found = WeightsPublisher(coordination, _event_types()).get()
    print(json.dumps({"weights": found.document.as_dict(), "version": found.version}))  # noqa: T201
    return 0


def set_weights(arguments: argparse.Namespace) -> int:
    """Put weights in force and print the version and who had them within a second."""
    try:
        weights = _weights(arguments.weights, _event_types())
        with _connected(arguments) as coordination:
            done = WeightsPublisher(coordination, _event_types()).put(weights, arguments.if_version, by=_BY)
    except (VersionMismatch, WeightsError) as exc:
        print(exc, file=sys.stderr)  # noqa: T201
        return 2
    answer = {"weights": done.document.as_dict(), "version": done.version}
    print(json.dumps({**answer, "acknowledged": done.acknowledged, "members": done.members}))  # noqa: T201
    return 0


def show_status(arguments: argparse.Namespace) -> int:
    """List the registered processes; exit code 1 when one has another version than the one in force."""
    with _connected(arguments) as coordination:
        version = WeightsPublisher(coordination, _event_types()).get().version
        members = read_members(coordination)
    print(f"in force: version {version}")  # noqa: T201
    print(f"{'role':10} {'host':24} {'pid':>8} {'version':>12}  since")  # noqa: T201
    for each in members:
        behind = "" if each.version == version else "  (another version)"
        print(f"{each.role:10} {each.host:24} {each.pid:>8} {each.version:>12}  {each.since}{behind}")  # noqa: T201
    return 0 if all(each.version == version for each in members) else 1


def _adder(commands: Any) -> Callable[..., argparse.ArgumentParser]:
    def add(name: str, what: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(name, help=what, description=what)
        parser.add_argument("--zookeeper-hosts", default=None, help="host:port[,…]; default: ZOOKEEPER_HOSTS")
        parser.set_defaults(run=_guarded(run))
        return parser

    return add


def _guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def guarded(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except ReweighError as exc:
            print(exc, file=sys.stderr)  # noqa: T201
            return 1

    return guarded


def _event_types() -> EventTypes:
    return EventTypes.from_settings(os.environ)


def _weights(given: list[str], event_types: EventTypes) -> Weights:
    if len(given) == 1 and given[0].lstrip().startswith("{"):
        return parse_weights(given[0], event_types)
    numbers: dict[str, object] = {}
    for each in given:
        name, _, text = each.partition("=")
        try:
            numbers[name] = json.loads(text)
        except ValueError as exc:
            raise WeightsError(name, text, "NAME=NUMBER is allowed, e.g. purchase=5") from exc
    return parse_weights(numbers, event_types)


@contextmanager
def _connected(arguments: argparse.Namespace) -> Iterator[Coordination]:
    hosts = arguments.zookeeper_hosts or os.environ.get("ZOOKEEPER_HOSTS") or "127.0.0.1:2181"
    auth = zookeeper_auth_setting(os.environ, lambda file: Path(file).read_text(encoding="utf-8"))
    with connected(hosts, auth) as coordination:
        yield coordination


@contextmanager
def connected(hosts: str, auth: str) -> Iterator[Coordination]:
    """Give a connection that has been made. Raises :class:`ConfigUnavailable` when ZooKeeper doesn't answer."""
    attempts = logging.getLogger("zkconfig.kazoo")
    before = attempts.level
    attempts.setLevel(logging.ERROR)  # or each attempt is a line; the error says it once
    coordination = KazooCoordination(hosts, auth=auth)
    coordination.start()
    try:
        until = time.monotonic() + CONNECT_SECONDS
        while not coordination.connected:
            if time.monotonic() > until:
                raise ConfigUnavailable(f"no ZooKeeper answers at {hosts} (ZOOKEEPER_HOSTS)")
            time.sleep(0.02)
        yield coordination
    finally:
        coordination.stop()
        attempts.setLevel(before)
