"""Commands that do their work again and again."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Never

from reccore.errors import ReweighError
from recsvc.log_lines import begin_log

log = logging.getLogger(__name__)


def again_and_again(seconds: float, turn: Callable[[], object]) -> Never:
    """Begin a turn every ``seconds``, or when the last one has ended; one that fails is told of in the log."""
    begin_log()
    while True:
        began = time.monotonic()
        try:
            turn()
        except ReweighError as exc:
            log.error("%s", exc)
        time.sleep(max(0.0, began + seconds - time.monotonic()))


@contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGTERM end what runs as Ctrl-C does, so that no folder is left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
