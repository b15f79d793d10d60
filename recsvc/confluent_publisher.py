"""Kafka through confluent-kafka, that is librdkafka.

Acknowledged by all replicas, bounded in flight, quick to say that Kafka is away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from reccore.access import OPEN, KafkaAccess
from reccore.events import LARGEST_EVENT
from recsvc.errors import EventRefused, IngestUnavailable
from recsvc.ingest import Message, Placed

log = logging.getLogger(__name__)

_DELIVERY_MS: Final = 5_000
_POLL_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 2.0
_LARGEST_QUEUE_KIB: Final = 131_072
_AWAY: Final = "Kafka is away, repeat the request later"
_REFUSED_FOR_GOOD: Final = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD)


class _Batch:
    """What became of the messages of one request; filled by the thread that hears from Kafka."""

    def __init__(self, size: int) -> None:
        late = IngestUnavailable("Kafka has not acknowledged in time; repeat with the same event_id")
        self._results: list[Placed | IngestUnavailable] = [late] * size
        self._left = size
        self._done = threading.Event()

    def settle(self, number: int, result: Placed | IngestUnavailable) -> None:
        """Note the result of one message; each has one at most."""
        self._results[number] = result
        self._left -= 1
        if not self._left:
            self._done.set()

    def results(self, seconds: float) -> list[Placed | IngestUnavailable]:
        """Give what is known when all are settled, or after so many seconds."""
        self._done.wait(seconds)
        return list(self._results)


class ConfluentEventPublisher:
    """A producer, made at the first event (so after any fork).

    librdkafka keeps ``most_in_flight`` messages at most without an acknowledgement, and refuses what is too much. When
    nothing has been acknowledged for ``timeout_ms`` though something waits, further messages are refused at once until
    Kafka answers or gives up what waits: nobody else has to wait to be told the same.
    """

    def __init__(self, bootstrap: str, *, most_in_flight: int, timeout_ms: int, access: KafkaAccess = OPEN) -> None:
        self._settings = _settings(bootstrap, most_in_flight, timeout_ms, access)
        self._seconds = timeout_ms / 1000
        self._lock = threading.Lock()
        self._producer: Any = None
        self._ended = threading.Event()
        self._listener: threading.Thread
        self._in_flight = 0
        self._silent_since = 0.0
        """When Kafka acknowledged last, or, if nothing waited then, when something was sent."""

    def publish(self, messages: Sequence[Message]) -> list[Placed | IngestUnavailable]:
        """Send all of them and wait, ``timeout_ms`` at most for all together."""
        if not messages:
            return []
        until = time.monotonic() + self._seconds
        producer = self._connected()
        if producer is None:
            return [IngestUnavailable(_AWAY)] * len(messages)
        batch = _Batch(len(messages))
        for number, message in enumerate(messages):
            with self._lock:
                if not self._in_flight:
                    self._silent_since = time.monotonic()
                self._in_flight += 1
            try:
                producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    on_delivery=partial(self._delivered, producer, batch, number),
                )
            except BufferError:
                self._settle(batch, number, IngestUnavailable("too many events wait for Kafka's acknowledgement"))
            except KafkaException as exc:
                self._settle(batch, number, _refusal(exc.args[0]))
        return batch.results(max(0.0, until - time.monotonic()))

    def stop(self) -> None:
        """Close the producer; what is not acknowledged by then was never promised."""
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            producer.flush(_CLOSE_SECONDS)
            producer.purge()
            self._ended.set()
            self._listener.join(_CLOSE_SECONDS)

    def _connected(self) -> Any:
        """Give the producer; None while Kafka does not answer."""
        with self._lock:
            if self._in_flight and time.monotonic() - self._silent_since > self._seconds:
                return None
            if self._producer is None:
                self._producer, self._ended = Producer(self._settings, logger=log), threading.Event()
                self._listener = threading.Thread(
                    target=_listen, args=(self._producer, self._ended), name="kafka-acknowledgements", daemon=True
                )
                self._listener.start()
            return self._producer

    def _delivered(self, producer: Any, batch: _Batch, number: int, error: Any, message: Any) -> None:
        if error is None:
            self._silent_since = time.monotonic()
            self._settle(batch, number, Placed(message.topic(), message.partition(), message.offset()))
            return
        if error.fatal():  # this one sends nothing any more
            log.warning("a producer has failed for good (%s); another takes its place", error.name())
            with self._lock:
                if self._producer is producer:
                    self._producer = None
                    self._ended.set()
        self._settle(batch, number, _refusal(error))

    def _settle(self, batch: _Batch, number: int, result: Placed | IngestUnavailable) -> None:
        with self._lock:  # results come from the thread that publishes and from the one that listens
            self._in_flight -= 1
            batch.settle(number, result)


def _listen(producer: Any, ended: threading.Event) -> None:
    """Call back for what Kafka acknowledges, until the producer has ended and has nothing to tell; then close it."""
    while producer.poll(_POLL_SECONDS) or len(producer) or not ended.is_set():
        pass
    producer.close()


def _refusal(error: Any) -> IngestUnavailable:
    if error.code() in _REFUSED_FOR_GOOD:
        return EventRefused(f"Kafka refuses this event ({error.name()})")
    return IngestUnavailable(f"Kafka has not acknowledged ({error.name()}); repeat with the same event_id")


def _settings(bootstrap: str, most_in_flight: int, timeout_ms: int, access: KafkaAccess) -> dict[str, object]:
    return {
        "bootstrap.servers": bootstrap,
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 2,
        "queue.buffering.max.messages": most_in_flight,
        "queue.buffering.max.kbytes": _LARGEST_QUEUE_KIB,
        "message.max.bytes": LARGEST_EVENT + 48_576,
        "request.timeout.ms": 2_000,
        "delivery.timeout.ms": max(_DELIVERY_MS, timeout_ms),
        "reconnect.backoff.max.ms": 1_000,
        "partitioner": "murmur2_random",  # as Java's and kafka-python's: one user's events stay in one partition
        **access.librdkafka_options(),
    }
