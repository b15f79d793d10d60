"""The Kafka edge of the command line, on confluent-kafka; no exception of its own leaves it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, Final

import confluent_kafka as kafka
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from reccore.access import OPEN, KafkaAccess
from reweigh.errors import CommandError

_PATIENCE_SECONDS = 10.0
LARGEST_MESSAGE = 4 * 1024 * 1024
_REFUSED: Final = (kafka.KafkaError._AUTHENTICATION, kafka.KafkaError._SSL)


def quiet_options(
    bootstrap: str, access: KafkaAccess = OPEN, told: list[kafka.KafkaError] | None = None
) -> dict[str, Any]:
    """Give librdkafka's options. ``told`` takes the errors that the client reports by itself.

    The client's own log lines would run through the progress bar; what matters is raised.
    """
    options: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 0}
    options["socket.connection.setup.timeout.ms"] = 5_000
    if told is not None:
        options["error_cb"] = told.append
    return options | access.librdkafka_options()


def check_topics(
    bootstrap: str, topics: Iterable[str], seconds: float = _PATIENCE_SECONDS, *, access: KafkaAccess = OPEN
) -> None:
    """Make sure that the broker answers and has the topics. Raises :class:`CommandError`."""
    told: list[kafka.KafkaError] = []
    client = AdminClient(quiet_options(bootstrap, access, told))
    try:
        present = client.list_topics(timeout=seconds).topics
    except kafka.KafkaException as exc:
        raise CommandError(f"Kafka at {bootstrap} does not answer: {_refusal(client, told) or reason(exc)}") from exc
    absent = [topic for topic in topics if topic not in present]
    if absent:
        raise CommandError(f"Kafka at {bootstrap} has no topic {', '.join(absent)}: create it, or run `make up`")


def end_offsets(
    bootstrap: str, topics: Iterable[str], seconds: float = _PATIENCE_SECONDS, *, access: KafkaAccess = OPEN
) -> dict[str, int]:
    """Count the records written to each topic: the sum of its partitions' end offsets less their first offsets."""
    consumer = kafka.Consumer(
        {**quiet_options(bootstrap, access), "group.id": "reweigh-offsets", "enable.auto.commit": False}
    )
    try:
        present = consumer.list_topics(timeout=seconds).topics
        counted = {}
        for topic in topics:
            partitions = present[topic].partitions if topic in present else ()
            marks = [consumer.get_watermark_offsets(kafka.TopicPartition(topic, each), seconds) for each in partitions]
            counted[topic] = sum(high - low for low, high in marks)
        return counted
    except kafka.KafkaException as exc:
        raise CommandError(f"Kafka at {bootstrap} does not answer: {reason(exc)}") from exc
    finally:
        consumer.close()


class EventProducer:
    """Sends records, idempotent and acknowledged by all replicas, with a bounded number in flight.

    Record timestamps are the moment of sending: a broker deletes by them, so an event's own time never stands there.
    """

    def __init__(self, bootstrap: str, *, give_up_seconds: float = 60.0, access: KafkaAccess = OPEN) -> None:
        self.acknowledged = 0
        self.failed = 0
        self._first_error = ""
        self._give_up_seconds = give_up_seconds
        self._producer = kafka.Producer(
            {
                **quiet_options(bootstrap, access),
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 20,
                "partitioner": "murmur2_random",  # as Java's: a user's events in one partition, whoever sends them
                "compression.type": "lz4",
                "queue.buffering.max.messages": 100_000,
                "queue.buffering.max.kbytes": 65_536,
                "delivery.timeout.ms": int(give_up_seconds * 1000),
                "message.max.bytes": LARGEST_MESSAGE,
            }
        )

    def send(self, topic: str, key: bytes | None, value: bytes) -> None:
        """Hand one record over; waits while the buffer is full. Raises :class:`CommandError` after a failed one."""
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._delivered)
                break
            except BufferError:
                self._producer.poll(0.1)
                self._check()
            except kafka.KafkaException as exc:
                raise CommandError(f"a record for {topic} can't be sent: {reason(exc)}") from exc
        self._producer.poll(0)
        self._check()

    def flush(self) -> None:
        """Wait until every record so far is acknowledged. Raises :class:`CommandError` when one isn't."""
        left = self._producer.flush(self._give_up_seconds + 5)
        self._check()
        if left:
            raise CommandError(f"{left} records were not acknowledged within {self._give_up_seconds:.0f} s")

    def close(self) -> None:
        """Wait for the same, and send no more."""
        self.flush()
        self._producer.close()

    def _delivered(self, error: object, _message: object) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self.failed += 1
            self._first_error = self._first_error or str(error)

    def _check(self) -> None:
        if self.failed:
            raise CommandError(f"{self.failed} records were not acknowledged: {self._first_error}")


def round_trip(
    bootstrap: str, payload: bytes, seconds: float = _PATIENCE_SECONDS, *, access: KafkaAccess = OPEN
) -> str:
    """Create a topic of a unique name, send ``payload``, read it back, delete the topic; give the topic's name.

    Raises :class:`CommandError` saying which step failed. The topic is deleted also when a later step fails.
    """
    topic = f"reweigh-doctor-{uuid.uuid4().hex[:12]}"
    told: list[kafka.KafkaError] = []
    admin = AdminClient(quiet_options(bootstrap, access, told))
    try:
        admin.create_topics([NewTopic(topic, 1, 1)], operation_timeout=seconds, request_timeout=seconds)[topic].result(
            seconds
        )
    except (kafka.KafkaException, TimeoutError) as exc:
        raise CommandError(f"a topic can't be created: {_refusal(admin, told) or reason(exc)}") from exc
    try:
        producer = EventProducer(bootstrap, give_up_seconds=seconds, access=access)
        producer.send(topic, b"doctor", payload)
        producer.close()
        if _read_first(bootstrap, topic, seconds, access) != payload:
            raise CommandError(f"the message sent to {topic} did not come back as it was sent")
    finally:
        _delete_topic(admin, topic, seconds)
    return topic


def _read_first(bootstrap: str, topic: str, seconds: float, access: KafkaAccess) -> bytes:
    consumer = kafka.Consumer({**quiet_options(bootstrap, access), "group.id": topic, "enable.auto.commit": False})
    try:
        consumer.assign([kafka.TopicPartition(topic, 0, 0)])
        message = consumer.poll(seconds)
        if message is None or message.error() is not None:
            raise CommandError(f"no message came back within {seconds:.0f} s")
        return message.value() or b""
    except kafka.KafkaException as exc:
        raise CommandError(f"the message can't be read back: {reason(exc)}") from exc
    finally:
        consumer.close()


def _delete_topic(admin: AdminClient, topic: str, seconds: float) -> None:
    try:
        admin.delete_topics([topic], operation_timeout=seconds, request_timeout=seconds)[topic].result(seconds)
    except (kafka.KafkaException, TimeoutError) as exc:
        raise CommandError(f"the topic {topic} can't be deleted: {reason(exc)}") from exc


def _refusal(client: AdminClient, told: list[kafka.KafkaError]) -> str:
    """Give what the broker, or its certificate, had against the connection; the call itself only says "too late"."""
    client.poll(0)
    return next((each.str() for each in told if each.code() in _REFUSED), "")


def reason(exc: BaseException) -> str:
    """Give what an exception of the client says, without its numbers."""
    error = exc.args[0] if exc.args else exc
    return error.str() if isinstance(error, kafka.KafkaError) else str(error) or type(exc).__name__
