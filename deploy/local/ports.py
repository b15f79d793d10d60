"""Free ports, chosen once and remembered in the home folder."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.settings import PORTS

HOST = "127.0.0.1"
_LOWEST = 15_000
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def choose_ports(
    home: Home, fixed: Mapping[str, int], in_use_by_us: Collection[str], patience_seconds: float = 10
) -> dict[str, int]:
    """Return a port for each name in `PORTS` and remember it.

    A remembered port is kept, unless a stranger holds it. `in_use_by_us` names the ports whose part is running: these
    are taken by right. A server of ours that was just killed may hold its port for a moment longer, so strangers are
    given `patience_seconds`, all together, to leave.

    Raises:
        StackError: A port given by the user is held by another program.
    """
    file = home.path / "ports.json"
    remembered: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    chosen: dict[str, int] = {}
    deadline = time.monotonic() + patience_seconds
    for name in PORTS:
        port = fixed.get(name, remembered.get(name, 0))
        if name not in in_use_by_us and not (port and _becomes_free(port, deadline)):
            if name in fixed:
                raise StackError(
                    f"port {port} (REWEIGH_{name.upper()}_PORT) is held by another program; "
                    "end that program or choose another port"
                )
            port = _free_port(taken={*chosen.values(), *remembered.values(), *fixed.values()})
        chosen[name] = port
    file.write_text(json.dumps(chosen, indent=1) + "\n")
    return chosen


def free_port() -> int:
    """Return a port that is free now, for what is no part of a stack."""
    return _free_port(taken=())


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _becomes_free(port: int, deadline: float) -> bool:
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _free_port(taken: Collection[int]) -> int:
    """Return a free port below the range that the kernel gives to outgoing connections.

    Inside that range a client that keeps retrying while its server is being restarted may be given the server's own
    port, connect to itself, and keep the server from ever coming back.
    """
    highest = _lowest_outgoing_port() - 1
    for _ in range(2000):
        port = random.randint(_LOWEST, highest)  # noqa: S311 - any free port will do, nothing is secret about it
        if port not in taken and is_free(port):
            return port
    raise StackError(f"no free port between {_LOWEST} and {highest}")


def _lowest_outgoing_port() -> int:
    try:
        lowest = int(_RANGE_FILE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        lowest = 32_768
    return lowest if lowest > _LOWEST + 1000 else 65_536
