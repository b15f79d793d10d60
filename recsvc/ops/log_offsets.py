"""How far the topics go, and how far the job has committed; and the tail of the dead letters."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import confluent_kafka as kafka
import confluent_kafka.admin

from reccore.access import OPEN, KafkaAccess
from recsvc.errors import IngestUnavailable

_ADMIN: Final[Any] = kafka.admin  # its stub leaves out most of what it exports
_SECONDS: Final = 2.0
_TAIL_SECONDS: Final = 5.0
_TAIL_KIB: Final = 8_192
LONGEST_TEXT: Final = 500


@dataclass(frozen=True, slots=True)
class TopicOffsets:
    """Of all partitions together: the offset after the last record, and after the last one that the job has settled."""

    end: int
    committed: int


class LogOffsets(Protocol):
    """Asks Kafka; raises ``IngestUnavailable`` when it does not answer in time."""

    def offsets(self, topics: Sequence[str]) -> dict[str, TopicOffsets]:
        """Give them by topic, those topics only that there are."""

    def tail(self, topic: str, most: int) -> list[dict[str, Any]]:
        """Give the newest dead letters, the newest first, each as :func:`shown_letter` shows it."""

    def stop(self) -> None:
        """Let go of the connections."""


class KafkaLogOffsets:
    """Connects when it is first asked, so after any fork. ``group`` is the one under which the job commits offsets."""

    def __init__(self, bootstrap: str, group: str, access: KafkaAccess = OPEN) -> None:
        self._options = {
            "bootstrap.servers": bootstrap,
            "log_level": 0,
            "socket.connection.setup.timeout.ms": 1_000,
            **access.librdkafka_options(),
        }
        self._group = group
        self._admin: Any = None
        self._lock = threading.Lock()

    def offsets(self, topics: Sequence[str]) -> dict[str, TopicOffsets]:
        """Ask for ends and committed offsets at once."""
        if self._admin is None:
            self._admin = _ADMIN.AdminClient(self._options)
        try:
            known = self._admin.list_topics(timeout=_SECONDS).topics
            places = [
                kafka.TopicPartition(name, each) for name in topics if name in known for each in known[name].partitions
            ]
            if not places:
                return {}
            latest = _ADMIN.OffsetSpec.latest()
            ends = self._admin.list_offsets(dict.fromkeys(places, latest), request_timeout=_SECONDS)
            request = kafka.ConsumerGroupTopicPartitions(self._group, places)
            asked = self._admin.list_consumer_group_offsets([request], request_timeout=_SECONDS)[self._group]
            end, committed = dict.fromkeys(topics, 0), dict.fromkeys(topics, 0)
            for place, future in ends.items():
                end[place.topic] += future.result(_SECONDS).offset
            for place in asked.result(_SECONDS).topic_partitions:
                committed[place.topic] += max(0, place.offset)
        except (kafka.KafkaException, TimeoutError) as exc:
            raise IngestUnavailable(f"Kafka does not answer: {_reason(exc)}") from exc
        return {name: TopicOffsets(end[name], committed[name]) for name in {place.topic for place in places}}

    def tail(self, topic: str, most: int) -> list[dict[str, Any]]:
        """Read the last ``most`` of each partition, and give the newest of them."""
        options = {"group.id": f"{self._group}-looked-at", "enable.auto.commit": False, "enable.partition.eof": True}
        bounds = {"queued.max.messages.kbytes": _TAIL_KIB, "auto.offset.reset": "earliest"}
        with self._lock:
            consumer = kafka.Consumer({**self._options, **options, **bounds})
            try:
                letters = _read_tail(consumer, topic, most)
            except kafka.KafkaException as exc:
                raise IngestUnavailable(f"Kafka does not answer: {_reason(exc)}") from exc
            finally:
                consumer.close()
        letters.sort(key=lambda each: each["read_ms"], reverse=True)
        return letters[:most]

    def stop(self) -> None:
        """Nothing stays open but the administrator's connection, which goes with it."""
        self._admin = None


def shown_letter(value: bytes | None, partition: int, offset: int, read_ms: int) -> dict[str, Any]:
    """Show one message of the dead-letter topic, its record as text of at most ``LONGEST_TEXT`` characters."""
    shown: dict[str, Any] = {"partition": partition, "offset": offset, "read_ms": read_ms}
    try:
        letter = json.loads(value or b"")
        raw = None if letter["raw"] is None else base64.b64decode(letter["raw"])
        source = f"{letter['topic']}:{letter['partition']}:{letter['offset']}"
        shown |= {"reason": str(letter["reason"]), "detail": str(letter["detail"])[:LONGEST_TEXT], "record": source}
    except (ValueError, TypeError, KeyError):
        return {**shown, "reason": "unknown", "detail": "no dead letter of this project", "record": "", "text": None}
    text = None if raw is None else raw[: 4 * LONGEST_TEXT].decode("utf-8", "replace")[:LONGEST_TEXT]
    return {**shown, "text": text, "bytes": None if raw is None else len(raw)}


def _read_tail(consumer: Any, topic: str, most: int) -> list[dict[str, Any]]:
    known = consumer.list_topics(topic, timeout=_SECONDS).topics[topic]
    places, last = [], {}
    for partition in known.partitions:
        low, high = consumer.get_watermark_offsets(kafka.TopicPartition(topic, partition), timeout=_SECONDS)
        if high > low:
            places.append(kafka.TopicPartition(topic, partition, max(low, high - most)))
            last[partition] = high - 1
    letters: list[dict[str, Any]] = []
    if not places:
        return letters
    consumer.assign(places)
    until = time.monotonic() + _TAIL_SECONDS
    while last and (left := until - time.monotonic()) > 0:
        message = consumer.poll(left)
        if message is None:
            break
        if message.error() is not None:
            if message.error().code() != kafka.KafkaError._PARTITION_EOF:
                raise kafka.KafkaException(message.error())
            last.pop(message.partition(), None)
            continue
        letters.append(shown_letter(message.value(), message.partition(), message.offset(), message.timestamp()[1]))
        if message.offset() >= last.get(message.partition(), -1):
            last.pop(message.partition(), None)
    if last:
        raise IngestUnavailable("Kafka does not answer: the dead letters did not come in time")
    return letters


def _reason(exc: BaseException) -> str:
    error = exc.args[0] if exc.args else None
    return error.str() if isinstance(error, kafka.KafkaError) else (str(exc) or "no answer in time")
