"""Running a command of `reweigh` to its end."""

from __future__ import annotations

import subprocess
import sys

from bench.errors import BenchmarkError


def reweigh(command: tuple[str, ...], options: tuple[str, ...], seconds: float) -> str:
    """Run it with its options and give what it printed.

    Raises:
        BenchmarkError: It failed, or took longer than `seconds`.
    """
    name = " ".join(("reweigh", *command))
    try:
        done = subprocess.run(
            (sys.executable, "-m", "reweigh.cli", *command, *options),
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise BenchmarkError(f"{name} took longer than {seconds:.0f} s") from exc
    if done.returncode:
        raise BenchmarkError(f"{name} failed with status {done.returncode}: {done.stderr[-500:]}")
    return done.stdout
