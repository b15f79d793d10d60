"""What an administrator does with topics and consumer groups; no exception of the client leaves it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import confluent_kafka as kafka
import confluent_kafka.admin

from reccore.access import OPEN, KafkaAccess
from reweigh.errors import CommandError
from reweigh.kafka import LARGEST_MESSAGE, quiet_options, reason
from reweigh.verify.log import Offsets

_ADMIN: Final[Any] = kafka.admin  # its stub leaves out most of what it exports
_ANSWER_SECONDS: Final = 10.0
_LEADERS_SECONDS: Final = 30.0


class Topics:
    """The topics of one broker. Raises :class:`CommandError` for whatever Kafka does not do."""

    def __init__(self, bootstrap: str, access: KafkaAccess = OPEN) -> None:
        self._admin = _ADMIN.AdminClient(quiet_options(bootstrap, access))

    def names(self) -> list[str]:
        """Give the names of all topics."""
        return sorted(self._metadata())

    def create(self, partitions: Mapping[str, int]) -> None:
        """Create the topics that there are not, of so many partitions each, and wait until each has a leader.

        They take records of the greatest size that is sent anywhere here, and keep them for ever.
        """
        config = {"max.message.bytes": str(LARGEST_MESSAGE), "retention.ms": "-1"}
        self._create(_ADMIN.NewTopic(name, count, config=config) for name, count in partitions.items())

    def create_replicated(
        self, configurations: Mapping[str, Mapping[str, str]], partitions: int, replication_factor: int
    ) -> list[str]:
        """Create the topics that there are not, each with its configuration; give their names."""
        there = set(self.names())
        new = {name: dict(config) for name, config in configurations.items() if name not in there}
        self._create(
            _ADMIN.NewTopic(name, partitions, replication_factor, config=config) for name, config in new.items()
        )
        return list(new)

    def _create(self, topics: Iterable[Any]) -> None:
        new = list(topics)
        for name, future in (self._admin.create_topics(new) if new else {}).items():
            with suppress(_Exists):
                _answer(future, f"the topic {name} can't be created")
        self.wait_for_leaders([each.topic for each in new])

    def wait_for_leaders(self, names: Collection[str]) -> None:
        """Wait until every partition of these topics has a leader: of a new one that takes a moment."""
        deadline = time.monotonic() + _LEADERS_SECONDS
        while not all(self._leads(topic) for topic in self._metadata(names).values()):
            if time.monotonic() > deadline:
                raise CommandError(f"not within {_LEADERS_SECONDS:.0f} s: a leader for each of {', '.join(names)}")
            time.sleep(0.1)

    def delete(self, names: Collection[str]) -> None:
        """Delete topics."""
        if names:
            futures = self._admin.delete_topics(list(names), operation_timeout=_ANSWER_SECONDS)
            for name, future in futures.items():
                _answer(future, f"the topic {name} can't be deleted")

    def empty(self, names: Iterable[str]) -> None:
        """Delete all records that these topics hold by now."""
        topics = self._metadata(list(names))
        to_the_end = [
            kafka.TopicPartition(name, each, -1) for name, topic in topics.items() for each in topic.partitions
        ]
        for place, future in self._admin.delete_records(to_the_end).items():
            _answer(future, f"the records of {place.topic} can't be deleted")

    def commit(self, group: str, offsets: Offsets) -> None:
        """Have a consumer group that nobody uses begin there."""
        wanted = [kafka.TopicPartition(place.topic, place.partition, upto) for place, upto in offsets.items()]
        request = kafka.ConsumerGroupTopicPartitions(group, wanted)
        _answer(self._admin.alter_consumer_group_offsets([request])[group], f"the offsets of {group} can't be set")

    def delete_group(self, group: str) -> None:
        """Delete a consumer group, if there is one and nobody uses it any more."""
        with suppress(CommandError):
            _answer(self._admin.delete_consumer_groups([group])[group], "")

    def _metadata(self, names: Collection[str] | None = None) -> dict[str, Any]:
        try:
            found = dict(self._admin.list_topics(timeout=_ANSWER_SECONDS).topics)
        except kafka.KafkaException as exc:
            raise CommandError(f"Kafka does not answer: {reason(exc)}") from exc
        return found if names is None else {name: found.get(name) for name in names}

    @staticmethod
    def _leads(topic: Any) -> bool:
        return topic is not None and bool(topic.partitions) and all(p.leader >= 0 for p in topic.partitions.values())


class _Exists(CommandError):
    """There is such a topic."""


def _answer(future: Any, otherwise: str) -> None:
    try:
        future.result(_ANSWER_SECONDS)
    except (kafka.KafkaException, TimeoutError) as exc:
        error = exc.args[0] if exc.args else None
        exists = isinstance(error, kafka.KafkaError) and error.code() == kafka.KafkaError.TOPIC_ALREADY_EXISTS
        raise (_Exists if exists else CommandError)(f"{otherwise}: {reason(exc)}") from exc
