"""The topics of the stack."""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from deploy.local.errors import StackError
from deploy.local.settings import Settings
from reccore.topics import topic_configurations

_ANSWER_SECONDS = 10.0


def create_topics(bootstrap: str, settings: Settings, patience_seconds: float = 30) -> tuple[str, ...]:
    """Create the topics that do not exist and return their names; existing ones are left as they are.

    Raises:
        StackError: The broker did not accept them within `patience_seconds`.
    """
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError, TopicAlreadyExistsError

    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with _without_log("kafka"):
                return _create_missing(KafkaAdminClient, bootstrap, settings)
        except TopicAlreadyExistsError:  # somebody else was quicker; look again
            continue
        except KafkaError as error:
            if time.monotonic() > deadline:
                raise StackError(f"the topics could not be created on {bootstrap}: {error}") from error
            time.sleep(0.3)


def _create_missing(admin_client: Callable[..., Any], bootstrap: str, settings: Settings) -> tuple[str, ...]:
    wanted = topic_configurations(settings.event_types, settings.followed)
    client = admin_client(bootstrap_servers=bootstrap, client_id="reweigh-stack", request_timeout_ms=10_000)
    try:
        existing = set(client.list_topics())
        missing = {
            name: {"num_partitions": settings.sizes.partitions, "replication_factor": 1, "configs": configs}
            for name, configs in wanted.items()
            if name not in existing
        }
        if missing:
            client.create_topics(missing)
        return tuple(missing)
    finally:
        client.close()


def deleted_beginnings(bootstrap: str, topics: Collection[str]) -> str:
    """Name each partition of these topics whose first records are gone, with its first offset, for people.

    Empty: none is, the topic does not exist yet, or the broker does not answer, so that nobody knows.
    """
    import confluent_kafka as kafka
    import confluent_kafka.admin

    if not broker_answers(bootstrap):
        return ""
    of: Any = kafka.admin  # its stub leaves out most of what it exports
    client = of.AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        there = client.list_topics(timeout=_ANSWER_SECONDS).topics
        places = {
            kafka.TopicPartition(topic, number): of.OffsetSpec.earliest()
            for topic in topics
            if topic in there
            for number in there[topic].partitions
        }
        answers = client.list_offsets(places, request_timeout=_ANSWER_SECONDS) if places else {}
        begins = {place: answer.result(_ANSWER_SECONDS).offset for place, answer in answers.items()}
    except (kafka.KafkaException, TimeoutError):
        return ""
    gone = sorted((place.topic, place.partition, begin) for place, begin in begins.items() if begin > 0)
    return ", ".join(f"{topic}:{partition} (first offset {offset:,})" for topic, partition, offset in gone)


@contextmanager
def _without_log(name: str) -> Iterator[None]:
    """Keep a library quiet that logs each refused connection while its server is still starting."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def broker_answers(bootstrap: str, seconds: float = 2.0) -> bool:
    """Return whether a broker answers a request for the API versions, the first thing that every client asks."""
    host, _, port = bootstrap.rpartition(":")
    header = struct.pack(">hhih", 18, 0, 1, -1)  # API key and version, correlation id, no client id
    try:
        with socket.create_connection((host, int(port)), timeout=seconds) as connection:
            connection.sendall(struct.pack(">i", len(header)) + header)
            return len(connection.recv(8)) > 0
    except OSError:
        return False
