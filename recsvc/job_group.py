"""The consumer group under which the job commits its offsets with each checkpoint, as Kafka tells of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import confluent_kafka as kafka
import confluent_kafka.admin

from reccore.access import OPEN, KafkaAccess
from recsvc.errors import IngestUnavailable

_ADMIN: Final[Any] = kafka.admin  # its stub leaves out most of what it exports
SECONDS: Final = 2.0
"""How long each answer is waited for."""


class JobGroup:
    """Connects when it is first asked, so after any fork; ``options`` are for every client that looks at the log."""

    def __init__(self, bootstrap: str, name: str, access: KafkaAccess = OPEN) -> None:
        self.name = name
        self.options: Mapping[str, Any] = {
            "bootstrap.servers": bootstrap,
            "log_level": 0,
            "socket.connection.setup.timeout.ms": 1_000,
            **access.librdkafka_options(),
        }
        self._admin: Any = None
        self._lock = threading.Lock()

    def partitions(self, topics: Sequence[str]) -> list[Any]:
        """Give all partitions of those topics that there are. Raises ``IngestUnavailable``."""
        try:
            known = self._client().list_topics(timeout=SECONDS).topics
        except kafka.KafkaException as exc:
            raise unavailable(exc) from exc
        return [kafka.TopicPartition(name, each) for name in topics if name in known for each in known[name].partitions]

    def ends(self, partitions: Sequence[Any]) -> list[Any]:
        """Give each with the offset after its last record. Raises ``IngestUnavailable``."""
        wanted = dict.fromkeys(partitions, _ADMIN.OffsetSpec.latest())
        try:
            found = self._client().list_offsets(wanted, request_timeout=SECONDS)
            return [
                kafka.TopicPartition(place.topic, place.partition, future.result(SECONDS).offset)
                for place, future in found.items()
            ]
        except (kafka.KafkaException, TimeoutError) as exc:
            raise unavailable(exc) from exc

    def committed(self, partitions: Sequence[Any]) -> list[Any]:
        """Give each with the offset that the job has committed, below 0 where none. Raises ``IngestUnavailable``."""
        request = kafka.ConsumerGroupTopicPartitions(self.name, list(partitions))
        try:
            asked = self._client().list_consumer_group_offsets([request], request_timeout=SECONDS)[self.name]
            return list(asked.result(SECONDS).topic_partitions)
        except (kafka.KafkaException, TimeoutError) as exc:
            raise unavailable(exc) from exc

    def _client(self) -> Any:
        with self._lock:
            if self._admin is None:
                self._admin = _ADMIN.AdminClient(dict(self.options))
            return self._admin


def unavailable(exc: BaseException) -> IngestUnavailable:
    """Say what Kafka, or the lack of an answer from it, means to who has asked."""
    error = exc.args[0] if exc.args else None
    reason = error.str() if isinstance(error, kafka.KafkaError) else (str(exc) or "no answer in time")
    return IngestUnavailable(f"Kafka does not answer: {reason}")
