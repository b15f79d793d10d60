"""Kafka, Redis and the follower, as processes of the stack."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Consumer, Producer

from deploy.local import Stack
from tests.waiting import wait_until

HOME = Path(__file__).resolve().parents[2] / ".local" / "test-follow"


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """Started once."""
    shutil.rmtree(HOME, ignore_errors=True)
    with Stack(HOME, ("zookeeper", "kafka", "redis", "follower"), environment=os.environ) as started:
        yield started


@pytest.fixture
def client(stack: Stack) -> Iterator[redis.Redis]:
    """Its Redis."""
    with redis.Redis.from_url(stack.env["REDIS_URL"], decode_responses=True) as found:
        yield found


@pytest.fixture
def producer(stack: Stack) -> Iterator[Producer]:
    """A client that sends."""
    with Producer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"], "acks": "all", "linger.ms": 5}) as made:
        yield made


@contextmanager
def second_follower(stack: Stack) -> Iterator[None]:
    """Another process beside the stack's, as long as the context lasts."""
    second = subprocess.Popen(
        (sys.executable, "-m", "reweigh.cli", "follow", "--env", str(stack.home.stack_env)),
        stderr=subprocess.DEVNULL, env={**os.environ, "FOLLOW_METRICS_PORT": "0"},
    )  # fmt: skip
    try:
        yield
    finally:
        second.terminate()
        assert second.wait(20) == 0


def letters(stack: Stack, topic: str, count: int) -> list[Any]:
    """Wait for so many dead letters of records of one topic."""
    settings = {"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"], "group.id": "test", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    found: dict[bytes, Any] = {}

    def all_came() -> bool:
        for each in consumer.consume(100, 0.2):
            letter = json.loads(each.value() or b"")
            if letter["topic"] == topic:
                found[each.key() or b""] = letter
        return len(found) >= count

    try:
        consumer.subscribe(["dead-letter-events"])
        wait_until(all_came, 60)
        return list(found.values())
    finally:
        consumer.close()
