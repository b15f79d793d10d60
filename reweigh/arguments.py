"""What the descriptions of all commands share: a command, a group of them, and the kinds of values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[argparse.Namespace], int]


def add_command(commands: Any, name: str, what: str, run: Run, description: str = "") -> argparse.ArgumentParser:
    """Describe one command; its help is ``what``, and where it needs more than a line, ``description``."""
    added: argparse.ArgumentParser = commands.add_parser(
        name, help=what, description=description or what, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    added.set_defaults(run=run)
    return added


def add_group(commands: Any, name: str, what: str) -> Any:
    """Describe a command that has commands of its own; give what these are added to."""
    group = commands.add_parser(name, help=what, description=what)
    return group.add_subparsers(dest=f"{name}_command", required=True, metavar="COMMAND")


def add_env(parser: argparse.ArgumentParser) -> None:
    """Let the file be named that says where the servers are."""
    parser.add_argument(
        "--env", type=Path, metavar="FILE", help="read the addresses there; default: environment, else .local/stack.env"
    )


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """Read a whole number of at least 0."""
    return _whole(text, 0)


def duration(text: str) -> int:
    """Read a length of time, e.g. ``90s``, ``30m``, ``1h``, ``1d``; give seconds."""
    seconds = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}.get(text[-1:], 0)
    number = text[:-1]
    if not seconds or not number.isascii() or not number.isdigit() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a number and s, m, h or d is allowed, e.g. 30m or 1h")
    return int(number) * seconds


def _whole(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number of at least {least} is allowed")
    return int(text)
