"""Real RabbitMQ and Kafka, started once, and bridges as processes of their own."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest

from deploy.local import Stack
from deploy.local.ports import free_port
from deploy.local.processes import processes_of
from deploy.local.supervision import Program, start_held
from reweigh.rabbitmq.settings import RabbitSettings
from tests.rabbitmq.reading import Site
from tests.servers import fresh_stack

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def servers() -> Iterator[Stack]:
    """RabbitMQ and Kafka in a folder of their own; nothing of them is left at the end, no daemon of Erlang's either."""
    with fresh_stack("kafka", "rabbitmq") as stack:
        yield stack
    assert processes_of(stack.home.stack_id) == []


@pytest.fixture
def site(servers: Stack, tmp_path: Path) -> Site:
    """A queue that no other test uses, and the settings by which commands find it."""
    queue, metrics_port = f"events-{next(_NUMBERS)}", free_port()
    env_file = tmp_path / "bridge.env"
    settings = RabbitSettings(
        host="127.0.0.1", port=servers.addresses.ports["rabbitmq"], queue=queue, metrics_port=metrics_port
    )
    env_file.write_text(
        f"KAFKA_BOOTSTRAP={servers.env['KAFKA_BOOTSTRAP']}\nRABBITMQ_HOST={settings.host}\n"
        f"RABBITMQ_PORT={settings.port}\nRABBITMQ_QUEUE={queue}\nRABBITMQ_METRICS_PORT={metrics_port}\n"
        "RABBITMQ_PREFETCH=200\n"
    )
    return Site(servers, settings, env_file)


@pytest.fixture
def start_bridge(site: Site, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start `reweigh bridge rabbitmq` as a process; whatever of them still runs is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        argv = (sys.executable, "-m", "reweigh.cli", "bridge", "rabbitmq", "--env", str(site.env_file))
        started.append(start_held(Program(name="bridge", argv=argv), tmp_path / "bridge.log"))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    print((tmp_path / "bridge.log").read_text()[-4_000:])  # noqa: T201 - pytest shows it with a failure


@pytest.fixture
def channel(site: Site) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    """A channel of a client that knows nothing of this project, with the queue there."""
    connection = pika.BlockingConnection(site.settings.parameters())
    opened = connection.channel()
    opened.queue_declare(site.settings.queue, durable=True)
    yield opened
    connection.close()
