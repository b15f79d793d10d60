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

from recsvc.errors import IngestUnavailable
from recsvc.job_group import SECONDS, JobGroup, unavailable

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


class KafkaLogOffsets:
    """Connects when it is first asked, so after any fork."""

    def __init__(self, group: JobGroup) -> None:
        self._group = group
        self._lock = threading.Lock()

    def offsets(self, topics: Sequence[str]) -> dict[str, TopicOffsets]:
        """Ask for ends and committed offsets."""
        places = self._group.partitions(topics)
        if not places:
            return {}
        end, committed = dict.fromkeys(topics, 0), dict.fromkeys(topics, 0)
        for place in self._group.ends(places):
            end[place.topic] += place.offset
        for place in self._group.committed(places):
            committed[place.topic] += max(0, place.offset)
        return {name: TopicOffsets(end[name], committed[name]) for name in {place.topic for place in places}}

    def tail(self, topic: str, most: int) -> list[dict[str, Any]]:
        """Read the last ``most`` of each partition, and give the newest of them."""
        options = {
            "group.id": f"{self._group.name}-looked-at",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
        bounds = {"queued.max.messages.kbytes": _TAIL_KIB, "auto.offset.reset": "earliest"}
        with self._lock:
            consumer = kafka.Consumer({**self._group.options, **options, **bounds})
            try:
                letters = _read_tail(consumer, topic, most)
            except kafka.KafkaException as exc:
                raise unavailable(exc) from exc
            finally:
                consumer.close()
        letters.sort(key=lambda each: each["read_ms"], reverse=True)
        return letters[:most]


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
    known = consumer.list_topics(topic, timeout=SECONDS).topics[topic]
    places, last = [], {}
    for partition in known.partitions:
        low, high = consumer.get_watermark_offsets(kafka.TopicPartition(topic, partition), timeout=SECONDS)
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
