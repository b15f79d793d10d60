"""ZooKeeper, one server."""

from __future__ import annotations

import socket

from deploy.local import jars
from deploy.local.home import Home
from deploy.local.java import LITTLE_TO_DO, java_home
from deploy.local.logging_files import server_logging
from deploy.local.ports import HOST
from deploy.local.server import Server
from deploy.local.supervision import Program


def render_configuration(data_folder: str, port: int) -> str:
    """Return `zoo.cfg`. A tick of one second allows sessions from two seconds up."""
    return "\n".join(
        (
            f"dataDir={data_folder}",
            f"clientPortAddress={HOST}",
            f"clientPort={port}",
            "tickTime=1000",
            "maxSessionTimeout=60000",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "4lw.commands.whitelist=ruok,srvr",
            "autopurge.snapRetainCount=3",
            "autopurge.purgeInterval=1",
            "",
        )
    )


def server(home: Home, port: int, heap: int) -> Server:
    """Describe ZooKeeper listening on `port`, with a heap of `heap` MiB."""
    folder = home.path / "zookeeper"
    configuration = folder / "zoo.cfg"
    text = render_configuration(str(folder / "data"), port)

    def prepare() -> None:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        configuration.write_text(text)

    return Server(
        program=Program(
            name="zookeeper",
            configuration=text,
            argv=(
                str(java_home() / "bin" / "java"),
                f"-Xmx{heap}m",
                *LITTLE_TO_DO,
                "-XX:+ExitOnOutOfMemoryError",
                "-Djava.awt.headless=true",
                "-Dzookeeper.jmx.log4j.disable=true",
                f"-Dlog4j2.configurationFile={server_logging(home)}",
                "-cp",
                jars.class_path("zookeeper"),
                "org.apache.zookeeper.server.ZooKeeperServerMain",
                str(configuration),
            ),
        ),
        address=f"{HOST}:{port}",
        is_ready=lambda: "Mode: standalone" in four_letter_word(port, "srvr"),
        before_start=prepare,
    )


def four_letter_word(port: int, word: str) -> str:
    """Return ZooKeeper's answer to a four-letter word, empty when there is none."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(word.encode())
            return connection.makefile().read()
    except (OSError, UnicodeDecodeError):
        return ""
