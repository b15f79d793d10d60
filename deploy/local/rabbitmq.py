"""RabbitMQ, one server: the one that is installed, else the one of Debian's packages (`debian_packages.py`).

Erlang is started as it is, not by RabbitMQ's scripts: these change the user, read files in /etc, and start `epmd`, a
daemon that outlives everything. A single server needs neither that nor a port for other servers.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.local.debian_packages import RABBITMQ
from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.ports import HOST
from deploy.local.server import Server
from deploy.local.supervision import Program

_NODE = "rabbit@localhost"
_GREETING = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01"


@dataclass(frozen=True)
class Installation:
    """Where Erlang and RabbitMQ are: the folder with `erts-…` and `lib`, and the one with `plugins`."""

    erlang: Path
    rabbitmq: Path

    @property
    def programs(self) -> Path:
        """The folder of Erlang's own programs."""
        return _newest(self.erlang, "erts-*/bin")[0]


def installed(root: Path = Path("/"), path: str | None = None) -> Installation | None:
    """Return what is installed below `root`, or was found by the search path; None unless it is both."""
    erlang, rabbitmq = _newest(root, "usr/lib/erlang"), _newest(root, "usr/lib/rabbitmq/lib/rabbitmq_server-*")
    if program := shutil.which("erl", path=path):
        erlang = [*erlang, Path(program).resolve().parents[1]]
    if program := shutil.which("rabbitmq-server", path=path):
        rabbitmq = [*rabbitmq, Path(program).resolve().parents[1]]
    erlang = [folder for folder in erlang if _newest(folder, "erts-*/bin")]
    rabbitmq = [folder for folder in rabbitmq if (folder / "plugins").is_dir()]
    return Installation(erlang[0], rabbitmq[0]) if erlang and rabbitmq else None


def provide(tell: Callable[[str], None]) -> None:
    """Make sure that there is a RabbitMQ: unless it is installed, it is had from packages, once.

    Raises:
        StackError: It can't be had.
    """
    if installed() is None:
        RABBITMQ.unpack(tell)


def installation() -> Installation:
    """Return what is installed, else what was unpacked.

    Raises:
        StackError: There is neither.
    """
    found = installed() or installed(RABBITMQ.root, path=os.devnull)
    if found is None:
        raise StackError("RabbitMQ is neither installed nor unpacked in the cache; `STACK_RABBITMQ=on make up` gets it")
    return found


def render_configuration(port: int) -> str:
    """Return `rabbitmq.conf`: clients of this machine only, little memory, the log on standard output."""
    return "\n".join(
        (
            f"listeners.tcp.local = {HOST}:{port}",
            "num_acceptors.tcp = 2",
            "vm_memory_high_watermark.absolute = 512MiB",
            "disk_free_limit.absolute = 100MB",
            "log.file = false",
            "log.console = true",
            "log.console.level = info",
            "",
        )
    )


def server(home: Home, port: int) -> Server:
    """Describe RabbitMQ listening on `port`; its user is `guest`, whose password is `guest`."""
    found = installation()
    folder = home.path / "rabbitmq"
    text = render_configuration(port)

    def prepare() -> None:
        for name in ("home", "data", "log"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "rabbitmq.conf").write_text(text)
        (folder / "enabled_plugins").write_text("[].\n")

    return Server(
        program=Program(
            name="rabbitmq",
            argv=_command(found),
            env=_environment(found, folder),
            configuration=text,
            stop_patience=20,
        ),
        address=f"{HOST}:{port}",
        is_ready=lambda: answers(port),
        before_start=prepare,
    )


def answers(port: int) -> bool:
    """Return whether AMQP is spoken on a port: the server sends the first frame after the greeting."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(_GREETING)
            return connection.recv(8)[:1] == _METHOD_FRAME
    except OSError:
        return False


def _command(found: Installation) -> tuple[str, ...]:
    return (
        str(found.programs / "erlexec"),
        *("-noinput", "-boot", "start_sasl", "+W", "w"),
        *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"),  # a waiting thread leaves the processor to others
        # A name, by which the data is found again, but no port for other servers and nobody to ask for it. RabbitMQ
        # asks for its own port there all the same: the number is told and never used.
        *("-sname", _NODE, "-start_epmd", "false", "-dist_listen", "false", "-erl_epmd_port", "1"),
        *("-syslog", "logger", "[]", "-syslog", "syslog_error_logger", "false"),
        *("-kernel", "prevent_overlapping_partitions", "false"),
        *("-s", "rabbit", "boot"),
    )


def _environment(found: Installation, folder: Path) -> dict[str, str]:
    return {
        "HOME": str(folder / "home"),
        "ROOTDIR": str(found.erlang),
        "BINDIR": str(found.programs),
        "EMU": "beam",
        "PROGNAME": "erl",
        "ERL_LIBS": str(found.rabbitmq / "plugins"),
        "ERL_CRASH_DUMP_SECONDS": "0",
        "RABBITMQ_HOME": str(found.rabbitmq),
        "RABBITMQ_PLUGINS_DIR": str(found.rabbitmq / "plugins"),
        "RABBITMQ_NODENAME": _NODE,
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOG": "-color",
    }


def _newest(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), reverse=True)
