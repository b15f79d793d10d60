"""`python -m deploy.local up|down|status|clean`: the commands behind the Makefile."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.parts import ALL_PARTS, DEFAULT_PARTS, OPTIONAL_PARTS
from deploy.local.stack import Stack
from deploy.local.status import describe


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except StackError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What was started keeps running; `make down` stops it.", file=sys.stderr)
        return 130


def up(options: argparse.Namespace) -> int:
    """Start or repair the stack."""
    known = Stack(options.home)
    default = _default_parts(known.started_parts(), known.settings.redis_url)
    parts = options.parts.split(",") if options.parts else default
    stack = Stack(options.home, parts, tell=_tell)
    _tell(f"starting the stack in {stack.home.path}")
    stack.up()
    _tell(f"ready; its addresses are in {stack.home.stack_env}")
    return 0


def down(options: argparse.Namespace) -> int:
    """Stop the stack."""
    Stack(options.home, tell=_tell).down()
    return 0


def status(options: argparse.Namespace) -> int:
    """Print the table."""
    text, fine = describe(Stack(options.home))
    print(text)
    return 0 if fine else 1


def clean(options: argparse.Namespace) -> int:
    """Stop the stack, and those whose folders lie inside its folder, and remove all their files."""
    home = Stack(options.home).home.path
    nested = sorted(found.parent for found in home.glob("*/supervisor") if found.is_dir())
    for path in (*nested, home):
        Stack(path, tell=_tell).down()
        shutil.rmtree(Stack(path).home.socket.parent, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
    return 0


def _default_parts(started: tuple[str, ...], redis_url: str = "") -> tuple[str, ...]:
    job_wish = os.environ.get("STACK_JOB", "")
    if job_wish not in ("", "none"):
        raise StackError(f"STACK_JOB={job_wish!r}: only `none` is allowed, which starts the stack without the job")
    wanted = [*DEFAULT_PARTS]
    if job_wish == "none":
        wanted.remove("job")
    if redis_url:
        wanted.remove("redis")
    for variable, parts in OPTIONAL_PARTS.items():
        wish = os.environ.get(variable, "")
        if wish not in ("", "on", "off"):
            raise StackError(f"{variable}={wish!r}: `on`, which starts {' and '.join(parts)} too, or `off` is allowed")
        wanted += [part for part in parts if wish == "on" or (not wish and part in started)]
    return tuple(wanted)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="The local stack.")
    parser.add_argument("--home", type=Path, help="folder of the stack (default: .local of the checkout)")
    commands = parser.add_subparsers(required=True)
    starting = commands.add_parser("up", help="start or repair it")
    starting.add_argument("--parts", help=f"some of {','.join(ALL_PARTS)} (default: {','.join(DEFAULT_PARTS)})")
    starting.set_defaults(run=up)
    commands.add_parser("down", help="stop it; data and state are kept").set_defaults(run=down)
    commands.add_parser("status", help="show it; status 1 when something is wrong").set_defaults(run=status)
    commands.add_parser("clean", help="stop it and remove its files").set_defaults(run=clean)
    return parser


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
