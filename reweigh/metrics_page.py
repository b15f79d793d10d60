"""`GET /metrics` of a process that serves nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from reccore.errors import SettingError


def metrics_port(values: Mapping[str, str], setting: str) -> int:
    """Read where the page is to be, 0 for nowhere. Raises :class:`SettingError` for a wrong value."""
    given = values.get(setting) or "0"
    if not given.isascii() or not given.isdigit() or int(given) > 65_535:
        raise SettingError(setting, given, "a port, or 0 for none")
    return int(given)


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
