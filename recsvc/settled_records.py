"""What has become of records that the job is done with: whether it is, and what they hold."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

import confluent_kafka as kafka

from recsvc.errors import IngestUnavailable
from recsvc.ingest import Placed
from recsvc.job_group import SECONDS, JobGroup, unavailable


@dataclass(frozen=True, slots=True)
class Record:
    """A record's value and its Kafka time (epoch ms)."""

    value: bytes | None
    time_ms: int


class SettledRecords(Protocol):
    """Asks Kafka; raises ``IngestUnavailable`` when it does not answer in time."""

    def is_settled(self, place: Placed) -> bool:
        """Whether a checkpoint of the job covers the record: whatever comes of it is in Redis."""

    def record(self, place: Placed) -> Record | None:
        """Read a record; None where there is none, or none any more."""

    def stop(self) -> None:
        """Let go of the connections."""


class KafkaSettledRecords:
    """Connects when it is first asked, so after any fork."""

    def __init__(self, group: JobGroup) -> None:
        self._group = group
        self._lock = threading.Lock()
        self._consumer: Any = None

    def is_settled(self, place: Placed) -> bool:
        """Whether the offset that the job has committed is beyond the record: it commits them with its checkpoints."""
        (found,) = self._group.committed([kafka.TopicPartition(place.topic, place.partition)])
        return bool(found.offset > place.offset)

    def record(self, place: Placed) -> Record | None:
        """Read it. One at a time in a process: nobody asks for many."""
        at = kafka.TopicPartition(place.topic, place.partition, place.offset)
        with self._lock:
            if self._consumer is None:
                options = {"group.id": f"{self._group.name}-looked-up", "enable.auto.commit": False}
                further = {"auto.offset.reset": "error", "enable.partition.eof": True}
                self._consumer = kafka.Consumer({**self._group.options, **options, **further})
            try:
                self._consumer.assign([at])
                deadline = time.monotonic() + SECONDS
                while (left := deadline - time.monotonic()) > 0:
                    message = self._consumer.poll(left)
                    if message is None or (message.topic(), message.partition()) != (place.topic, place.partition):
                        continue
                    if message.error() is not None or message.offset() != place.offset:
                        return None
                    return Record(message.value(), message.timestamp()[1])
            except kafka.KafkaException as exc:
                raise unavailable(exc) from exc
            finally:
                self._consumer.unassign()
        raise IngestUnavailable("Kafka does not answer")

    def stop(self) -> None:
        """Close the consumer."""
        with self._lock:
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None
