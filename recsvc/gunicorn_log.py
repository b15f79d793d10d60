"""gunicorn's own log among the lines of the service."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger

from reccore.errors import SettingError
from recsvc.log_lines import begin_log


class GunicornLog(Logger):  # type: ignore[misc]
    """Writes as :mod:`recsvc.log_lines` does. gunicorn's access log, which names paths, is not written at all."""

    def setup(self, cfg: Any) -> None:
        """Begin the process's log; gunicorn calls this again when it reads its configuration anew."""
        try:
            begin_log()
        except SettingError as exc:
            raise RuntimeError(str(exc)) from exc  # the kind of error that gunicorn tells in one line
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.NOTSET)

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Tell at ``debug`` what quotes the request and its sender; the answer to it is told of by the worker."""
        tell = super().debug if msg.startswith("Invalid request from") else super().warning
        tell(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Leave out method and path."""
        if str(msg).startswith("Error handling request"):
            super().exception("Error handling request", **kwargs)
        else:
            super().exception(msg, *args, **kwargs)
