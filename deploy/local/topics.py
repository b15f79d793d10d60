"""The topics of the stack."""

from __future__ import annotations

import logging
import socket
import struct
import time

from deploy.local.errors import StackError
from deploy.local.settings import Settings

DEAD_LETTER_BYTES = 4 * 1024 * 1024


def topic_configurations(settings: Settings) -> dict[str, dict[str, str]]:
    """Return the configuration of each topic by name. Records are kept for ever."""
    topics = {name: {"retention.ms": "-1"} for name in settings.topics}
    topics[settings.dead_letter_topic] = {"retention.ms": "-1", "max.message.bytes": str(DEAD_LETTER_BYTES)}
    return topics


def create_topics(bootstrap: str, settings: Settings, patience_seconds: float = 30) -> tuple[str, ...]:
    """Create the topics that do not exist and return their names; existing ones are left as they are.

    Raises:
        StackError: The broker did not accept them within `patience_seconds`.
    """
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError, TopicAlreadyExistsError

    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    deadline = time.monotonic() + patience_seconds
    wanted = topic_configurations(settings)
    while True:
        try:
            client = KafkaAdminClient(bootstrap_servers=bootstrap, client_id="reweigh-stack", request_timeout_ms=10_000)
            try:
                missing = {name: wanted[name] for name in wanted if name not in set(client.list_topics())}
                if missing:
                    client.create_topics(
                        {
                            name: {
                                "num_partitions": settings.sizes.partitions,
                                "replication_factor": 1,
                                "configs": given,
                            }
                            for name, given in missing.items()
                        }
                    )
                return tuple(missing)
            finally:
                client.close()
        except TopicAlreadyExistsError:  # somebody else was quicker; look again
            continue
        except KafkaError as error:
            if time.monotonic() > deadline:
                raise StackError(f"the topics could not be created on {bootstrap}: {error}") from error
            time.sleep(0.3)


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
