"""Real Kafka, Redis and ZooKeeper for the tests of the command line, and a small data set in files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import Stack

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def servers() -> Iterator[Stack]:
    """Kafka, Redis and ZooKeeper in a home of their own, stopped at the end."""
    with Stack(CHECKOUT / ".local" / "test-reweigh", ("kafka", "redis", "zookeeper")) as stack:
        yield stack


@pytest.fixture
def stack_env(servers: Stack) -> Path:
    """The ``stack.env`` of the servers, without the parts that don't run."""
    file = servers.home.path / "servers.env"
    wanted = ("KAFKA_BOOTSTRAP", "REDIS_URL", "ZOOKEEPER_HOSTS")
    file.write_text("".join(f"{key}={servers.env[key]}\n" for key in wanted))
    return file


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[[str, list[object]], Path]:
    """Write objects (as JSON) and texts (as they are) to a file, one a line."""

    def write(name: str, lines: list[object]) -> Path:
        file = tmp_path / name
        texts = [each if isinstance(each, str) else json.dumps(each) for each in lines]
        file.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        return file

    return write
