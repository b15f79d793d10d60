"""The log of every process here: to standard error, one event a line, as JSON or as text.

``LOG_FORMAT`` is ``json`` or ``text``; unset, it is text where standard error is a terminal, JSON elsewhere.
``LOG_LEVEL`` is the lowest level that is written. What users and their events are is told at ``debug`` only.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from reccore.errors import SettingError

FORMATS: Final = ("json", "text")
LEVELS: Final = ("debug", "info", "warning", "error")

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request that this thread works for, "" for none; it is in each line that is logged meanwhile."""

# Libraries whose own lines repeat ours, or name what callers sent.
_QUIET: Final = {"kazoo": logging.WARNING, "kafka": logging.WARNING, "pika": logging.CRITICAL}


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How the log is written: ``form`` is one of ``FORMATS`` or "" for what fits, ``level`` one of ``LEVELS``."""

    form: str = ""
    level: str = "info"

    @classmethod
    def from_settings(cls, env: Mapping[str, str]) -> LogSettings:
        """Read them. Raises ``SettingError`` naming key, value and what is allowed."""
        return cls(_choice(env, "LOG_FORMAT", FORMATS, ""), _choice(env, "LOG_LEVEL", LEVELS, "info"))


def begin_log(settings: LogSettings | None = None) -> None:
    """Have everything that this process logs written that way; called again, the last call counts."""
    chosen = LogSettings.from_settings(os.environ) if settings is None else settings
    as_text = chosen.form == "text" or (not chosen.form and sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(TextLines() if as_text else JsonLines())
    handler.addFilter(name_request)
    logging.basicConfig(level=chosen.level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)


@contextmanager
def request_named(name: str) -> Iterator[None]:
    """Log on behalf of one request."""
    before = request_id.set(name)
    try:
        yield
    finally:
        request_id.reset(before)


class JsonLines(JsonFormatter):
    """One JSON object a line: time (UTC), level, logger, message, pid, then what the event has besides."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message", "process"],
            timestamp="time",
            rename_fields={"levelname": "level", "name": "logger", "process": "pid", "exc_info": "exception"},
        )


class TextLines(logging.Formatter):
    """For a terminal: the same members as ``name=value`` behind the message; a traceback has lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """Add what the event has besides its message."""
        more = (f" {name}={value}" for name, value in vars(record).items() if name not in RESERVED_ATTRS)
        return super().formatMessage(record) + "".join(more)


def name_request(record: logging.LogRecord) -> bool:
    """Add the id of the request, if it is logged for one: a filter of handlers."""
    if name := request_id.get():
        record.request_id = name
    return True


def _choice(env: Mapping[str, str], key: str, allowed: tuple[str, ...], default: str) -> str:
    given = env.get(key) or default
    if given and given not in allowed:
        raise SettingError(key, given, f"one of {', '.join(allowed)}")
    return given
