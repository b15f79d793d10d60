"""Topics read from positions that the reader keeps itself. Kafka's group offsets are only told, never asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import confluent_kafka as kafka

from reweigh.errors import CommandError

log = logging.getLogger(__name__)

_ANSWER_SECONDS: Final = 10.0
_DISCOVERY_SECONDS: Final = 5.0
_MESSAGES_A_CALL: Final = 5_000

Place = tuple[str, int]


class Source:
    """Messages of some topics, new partitions included. Raises :class:`CommandError` while Kafka does not answer."""

    def __init__(
        self,
        bootstrap: str,
        topics: Iterable[str],
        access: Mapping[str, Any],
        positions: Mapping[Place, int],
        *,
        group: str,
    ) -> None:
        self._topics = list(topics)
        self._bootstrap = bootstrap
        self._positions = dict(positions)
        self._assigned: set[Place] = set()
        self.lost = 0
        """Records that had been deleted before they were read."""
        self._consumer = kafka.Consumer(consumer_options(bootstrap, access, group))
        self._looked_at = 0.0
        try:
            self._discover(time.monotonic())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def poll(self, seconds: float, most: int = _MESSAGES_A_CALL) -> list[Any]:
        """Give what has come, ``most`` messages at most, after ``seconds`` at the latest."""
        now = time.monotonic()
        if now - self._looked_at >= _DISCOVERY_SECONDS:
            with suppress(CommandError):  # it will be asked again
                self._discover(now)
        messages: list[Any] = self._consumer.consume(most, seconds)
        if any(message.error() is not None for message in messages):
            for message in messages:
                if message.error() is not None:
                    log.warning("Kafka: %s", message.error())
            messages = [message for message in messages if message.error() is None]
        for message in messages:
            self._positions[message.topic(), message.partition()] = message.offset() + 1
        return messages

    def go_to(self, positions: Mapping[Place, int]) -> None:
        """Go on from other positions, of places that are not named from the first record that there is."""
        self._positions = dict(positions)
        self._consumer.assign([self._beginning(place) for place in sorted(self._assigned)])

    def lag(self) -> int:
        """Count the records that have not been read, by what Kafka told with the last records."""
        return sum(self.lags().values())

    def lags(self) -> dict[Place, int]:
        """Count them for each partition."""
        found = {}
        for place in self._assigned:
            marks = self._consumer.get_watermark_offsets(kafka.TopicPartition(*place), cached=True)
            low, high = marks if marks else (0, 0)
            found[place] = max(0, high - max(self._positions.get(place, 0), low, 0))
        return found

    def tell(self, positions: Mapping[Place, int]) -> None:
        """Tell Kafka how far the reader is, for tools that show lag; nobody depends on it."""
        offsets = [kafka.TopicPartition(topic, partition, upto) for (topic, partition), upto in positions.items()]
        if offsets:
            with suppress(kafka.KafkaException):
                self._consumer.commit(offsets=offsets, asynchronous=True)

    def _discover(self, now: float) -> None:
        """Begin with partitions that have not been seen yet."""
        self._looked_at = now
        try:
            present = self._consumer.list_topics(timeout=_ANSWER_SECONDS).topics
            found = {
                (topic, number) for topic in self._topics if topic in present for number in present[topic].partitions
            }
            fresh = sorted(found - self._assigned)
            if fresh:
                self._consumer.incremental_assign([self._beginning(place) for place in fresh])
                self._assigned |= set(fresh)
        except kafka.KafkaException as exc:
            raise CommandError(f"Kafka at {self._bootstrap} does not answer: {exc}") from exc

    def _beginning(self, place: Place) -> kafka.TopicPartition:
        low, _ = self._consumer.get_watermark_offsets(kafka.TopicPartition(*place), _ANSWER_SECONDS)
        wanted = self._positions.get(place, 0)
        if wanted < low:
            log.error("%s, partition %d: records %d to %d are deleted and were never read", *place, wanted, low - 1)
            self.lost += low - wanted
        return kafka.TopicPartition(*place, max(wanted, low))


def consumer_options(bootstrap: str, access: Mapping[str, Any], group: str = "reweigh") -> dict[str, Any]:
    """Give librdkafka's options: memory bounded, no group of consumers, nothing committed by itself."""
    return {
        "bootstrap.servers": bootstrap,
        "log_level": 0,
        "socket.connection.setup.timeout.ms": 5_000,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_uncommitted",  # as the job reads
        "auto.offset.reset": "earliest",
        "queued.max.messages.kbytes": 65_536,
        "fetch.queue.backoff.ms": 20,  # a second by default, in which all that was fetched is used up
        "max.poll.interval.ms": 86_400_000,  # it may wait that long for space on a disk
    } | dict(access)


def cluster_id(bootstrap: str, access: Mapping[str, Any]) -> str:
    """Give Kafka's own id. Raises :class:`CommandError` when it does not answer."""
    consumer = kafka.Consumer(consumer_options(bootstrap, access))
    try:
        return str(consumer.list_topics(timeout=_ANSWER_SECONDS).cluster_id)
    except kafka.KafkaException as exc:
        raise CommandError(f"Kafka at {bootstrap} does not answer: {exc}") from exc
    finally:
        consumer.close()


def end_offsets(bootstrap: str, access: Mapping[str, Any], topics: Iterable[str]) -> dict[Place, int]:
    """Give the end of each partition of the topics that exist. Raises :class:`CommandError`."""
    consumer = kafka.Consumer(consumer_options(bootstrap, access))
    try:
        present = consumer.list_topics(timeout=_ANSWER_SECONDS).topics
        places = [(topic, number) for topic in topics if topic in present for number in present[topic].partitions]
        marks = {
            place: consumer.get_watermark_offsets(kafka.TopicPartition(*place), _ANSWER_SECONDS) for place in places
        }
        return {place: high for place, (_, high) in marks.items()}
    except kafka.KafkaException as exc:
        raise CommandError(f"Kafka at {bootstrap} does not answer: {exc}") from exc
    finally:
        consumer.close()
