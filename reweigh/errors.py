"""What a command can fail with, and the extras that it may lack.

ReweighError (reccore)
└── CommandError          the message says what to do; the exit code is 1
    └── MissingExtra      a part of the package was not installed
"""

from __future__ import annotations

import importlib
from types import ModuleType

from reccore.errors import ReweighError


class CommandError(ReweighError):
    """Something that the person at the terminal can act on."""


class MissingExtra(CommandError):
    """A command needs packages that only an extra installs."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this command needs {package}: pip install 'reweigh[{extra}]'")
        self.package, self.extra = package, extra


def need(module: str, extra: str) -> ModuleType:
    """Import ``module``, or raise :class:`MissingExtra` when it, or what it imports, is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        missing = exc.name or module
        if missing.partition(".")[0] in {"reweigh", "reccore", "redisaccess", "zkconfig"}:
            raise
        raise MissingExtra(missing.partition(".")[0], extra) from exc
