"""What the tests of the bridge look at: the log of Kafka, and queues."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
from confluent_kafka import Consumer, TopicPartition

from deploy.local import Stack
from reweigh.rabbitmq.settings import RabbitSettings

TOPICS = ("view-events", "add-to-cart-events", "purchase-events")


@dataclass(frozen=True)
class KafkaRecord:
    """One record of an event topic."""

    topic: str
    key: bytes
    value: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The event in it."""
        decoded: dict[str, Any] = json.loads(self.value)
        return decoded


@dataclass(frozen=True)
class Site:
    """The servers, the queue of one test, and the file by which commands find them."""

    servers: Stack
    settings: RabbitSettings
    env_file: Path

    def ready(self, queue: str | None = None) -> int:
        """Messages that wait in a queue, 0 where there is none."""
        connection = pika.BlockingConnection(self.settings.parameters())
        try:
            declared = connection.channel().queue_declare(queue or self.settings.queue, passive=True)
            return int(declared.method.message_count)
        except pika.exceptions.ChannelClosedByBroker:
            return 0
        finally:
            connection.close()

    def records(self, prefix: str) -> dict[str, list[KafkaRecord]]:
        """Everything in Kafka whose event id begins with ``prefix``, by event id."""
        bootstrap = self.servers.env["KAFKA_BOOTSTRAP"]
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reading", "enable.auto.commit": False})
        found: dict[str, list[KafkaRecord]] = defaultdict(list)
        try:
            ends = {}
            for topic in TOPICS:
                for number in consumer.list_topics(topic, timeout=60).topics[topic].partitions:
                    low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=60)
                    if high > low:
                        ends[topic, number] = high
            consumer.assign([TopicPartition(topic, number, 0) for topic, number in ends])
            while ends:
                for message in consumer.consume(1_000, timeout=1):
                    assert message.error() is None, message.error()
                    name, partition, offset = message.topic(), message.partition(), message.offset()
                    assert name is not None
                    assert partition is not None
                    assert offset is not None
                    record = KafkaRecord(name, message.key() or b"", message.value() or b"")
                    if str(record.event.get("event_id")).startswith(prefix):
                        found[record.event["event_id"]].append(record)
                    place = (name, partition)
                    if place in ends and offset + 1 >= ends[place]:
                        del ends[place]
        finally:
            consumer.close()
        return dict(found)
