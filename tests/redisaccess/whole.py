"""The whole system on a Redis of its own kind, for what `make cluster` runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.local import Stack
from deploy.local.parts import DEFAULT_PARTS

PATIENCE = 600.0
_LOCAL = Path(__file__).resolve().parents[2] / ".local"


@contextmanager
def whole_stack(name: str, redis_url: str) -> Iterator[Stack]:
    """Run the whole stack in a folder of this name, with nothing of an earlier run, on the Redis of a URL."""
    home = _LOCAL / name
    shutil.rmtree(home, ignore_errors=True)
    parts = tuple(part for part in DEFAULT_PARTS if part != "redis")
    with Stack(home, parts, environment={**os.environ, "STACK_REDIS_URL": redis_url}) as started:
        yield started


def command(*words: str) -> tuple[str, ...]:
    """A command of the project."""
    return sys.executable, "-m", "reweigh.cli", *words


def run(*words: str) -> str:
    """What such a command prints."""
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def verified(stack: Stack) -> dict[str, Any]:
    """What `reweigh verify` finds, which is no difference."""
    found: dict[str, Any] = json.loads(run("verify", "--env", str(stack.home.stack_env), "--output", "json"))
    assert found["differences"] == []
    return found
