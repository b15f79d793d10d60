"""`GET /metrics` of a process that serves nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from reccore.errors import SettingError


@contextmanager
def served(registry: CollectorRegistry, host: str, port: int, setting: str) -> Iterator[None]:
    """Answer as long as the context lasts, at no port when it is 0.

    Raises :class:`SettingError` naming ``setting`` when the port can't be had.
    """
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as exc:
        raise SettingError(setting, port, f"a port that is free at {host} ({exc})") from exc
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
