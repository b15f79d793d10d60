"""Which package may import which; the direction is the design."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("reccore", "redisaccess", "zkconfig", "flink_jobs", "recsvc", "deploy", "reweigh", "bench", "faults")
MAY_IMPORT = {
    "reccore": set(),
    "redisaccess": {"reccore"},
    "zkconfig": {"reccore"},
    "flink_jobs": {"reccore", "redisaccess", "zkconfig"},
    "recsvc": {"reccore", "redisaccess", "zkconfig"},
}
NO_CLOCK_NO_IO = {"time", "random", "secrets", "socket", "os", "io", "pathlib", "threading", "subprocess", "logging"}


def imported_modules(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def files_of(package: str) -> list[Path]:
    """All Python files of a package of this project."""
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package} has no Python files"
    return files


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_follow_the_direction(package: str) -> None:
    """The rules know nobody; the edges of servers know the rules; job and service know all these, never each other."""
    allowed = MAY_IMPORT[package] | {package}
    wrong = {path: names for path in files_of(package) if (names := imported_modules(path) & set(OURS) - allowed)}
    assert not wrong


def test_rules_are_pure() -> None:
    """``reccore`` uses the standard library alone, and of that nothing that does I/O, tells the time or draws lots."""
    for path in files_of("reccore"):
        names = imported_modules(path) - {"reccore"}
        assert names <= sys.stdlib_module_names, path
        assert not names & NO_CLOCK_NO_IO, path


def test_service_needs_no_flink_and_job_no_flask() -> None:
    """Each edge can be installed without the other's framework."""
    trains = {"scipy", "implicit", "duckdb"}  # models are applied by numpy alone
    service = {"pyflink", "msgspec", "apache_beam", *trains}
    for package, foreign in (("recsvc", service), ("flink_jobs", {"flask", "gunicorn", *trains})):
        for path in files_of(package):
            assert not imported_modules(path) & foreign, path


def test_what_counts_anew_shares_nothing_with_the_job() -> None:
    """``reweigh verify`` would prove nothing if it read records or counted by the code that it checks.

    Not so ``command``, which connects it with the servers, and ``archived``, where the job's rule has judged before.
    """
    allowed = ("reweigh.verify.", "reweigh.errors", "reweigh.progress", "redisaccess.")
    paths = [path for path in files_of("reweigh/verify") if path.stem not in {"command", "archived"}]
    assert {"careful", "log", "recent", "recount", "statements", "compare"} <= {path.stem for path in paths}
    for path in paths:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        imports = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        imports |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        ours = {name for name in imports if name.partition(".")[0] in OURS}
        assert all(name.startswith(allowed) for name in ours), path


def test_modules_stay_small() -> None:
    """A module that outgrows a few screens wants to be two."""
    long = {
        str(path.relative_to(ROOT)): lines
        for package in OURS
        for path in files_of(package)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert not long
