"""A Kafka broker in KRaft mode, broker and controller in one process."""

from __future__ import annotations

import base64
import os
import subprocess
import uuid
from pathlib import Path

from deploy.local import jars
from deploy.local.errors import StackError
from deploy.local.home import STACK_ID_VARIABLE, Home
from deploy.local.java import java_home
from deploy.local.logging_files import server_logging
from deploy.local.ports import HOST
from deploy.local.server import Server
from deploy.local.supervision import Program
from deploy.local.topics import broker_answers


def render_configuration(log_folder: str, port: int, controller_port: int) -> str:
    """Return `server.properties`."""
    return "\n".join(
        (
            "process.roles=broker,controller",
            "node.id=1",
            f"controller.quorum.voters=1@{HOST}:{controller_port}",
            f"listeners=PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
            f"advertised.listeners=PLAINTEXT://{HOST}:{port}",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            f"log.dirs={log_folder}",
            "auto.create.topics.enable=false",
            # Records stay for ever: profiles can be rebuilt from the log.
            "log.retention.ms=-1",
            "log.retention.bytes=-1",
            # A record's timestamp is the producer's affair, even when a clock is wrong.
            "log.message.timestamp.after.max.ms=9223372036854775807",
            "num.partitions=4",
            "num.network.threads=2",
            "num.io.threads=4",
            "offsets.topic.num.partitions=4",
            "offsets.topic.replication.factor=1",
            "transaction.state.log.num.partitions=4",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "share.coordinator.state.topic.num.partitions=4",
            "share.coordinator.state.topic.replication.factor=1",
            "share.coordinator.state.topic.min.isr=1",
            "group.initial.rebalance.delay.ms=0",
            "log.cleaner.dedupe.buffer.size=16777216",
            "",
        )
    )


def server(home: Home, port: int, controller_port: int, heap: int) -> Server:
    """Describe the broker listening on `port`, with a heap of `heap` MiB."""
    folder = home.path / "kafka"
    configuration = folder / "server.properties"
    text = render_configuration(str(folder / "data"), port, controller_port)
    java = (
        str(java_home() / "bin" / "java"),
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={server_logging(home)}",
        "-cp",
        jars.class_path("kafka"),
    )

    def prepare() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        configuration.write_text(text)
        _format_once(home, folder / "data", (*java, "kafka.tools.StorageTool"), configuration)

    return Server(
        program=Program(
            name="kafka",
            argv=(java[0], f"-Xmx{heap}m", "-XX:+UseG1GC", *java[1:], "kafka.Kafka", str(configuration)),
            configuration=text,
            stop_patience=20,
        ),
        address=f"{HOST}:{port}",
        is_ready=lambda: broker_answers(f"{HOST}:{port}"),
        before_start=prepare,
    )


def _format_once(home: Home, data: Path, storage_tool: tuple[str, ...], configuration: Path) -> None:
    if (data / "meta.properties").exists():
        return
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1)
    argv = (*storage_tool, "format", "--ignore-formatted", "-t", cluster, "-c", str(configuration))
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, STACK_ID_VARIABLE: home.stack_id},
    )
    if done.returncode != 0:
        output = (done.stdout + done.stderr)[-2000:]
        raise StackError(f"Kafka's storage in {data} could not be formatted; the end of the output:\n{output}")
