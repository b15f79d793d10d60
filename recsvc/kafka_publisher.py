"""Kafka through kafka-python: acknowledged by all replicas, bounded in flight, quick to say that it is away."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

from reccore.access import OPEN, KafkaAccess
from reccore.events import LARGEST_EVENT
from recsvc.errors import IngestUnavailable
from recsvc.ingest import Message, Placed

log = logging.getLogger(__name__)
# At DEBUG kafka-python writes each request into its log, that of a PLAIN login with user and password too.
logging.getLogger("kafka").setLevel(logging.INFO)

_DELIVERY_MS = 5_000
_STUCK_SECONDS = 2 * _DELIVERY_MS / 1000


class _Refused(IngestUnavailable):
    """Kafka has refused something for good."""


class KafkaEventPublisher:
    """A producer, connected at the first event (so after any fork).

    kafka-python itself bounds nothing: ``most_in_flight`` messages may be without an acknowledgement, and who would
    exceed that is refused at once, so that memory stays bounded while the broker is away.

    After a broker's death it may also never send to some partition again, nor give up what waits for it, although it
    should after ``_DELIVERY_MS``. A producer that keeps something for twice as long is given up for another.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        most_in_flight: int,
        timeout_ms: int,
        access: KafkaAccess = OPEN,
        stuck_seconds: float = _STUCK_SECONDS,
    ) -> None:
        self._bootstrap, self._timeout_ms, self._access = bootstrap, timeout_ms, access
        self._places = threading.BoundedSemaphore(most_in_flight)
        self._lock = threading.Lock()
        self._producer: Any = None
        self._not_before = 0.0
        self._stuck_seconds = stuck_seconds
        self._open: deque[tuple[float, Any]] = deque()  # when each was sent, the oldest first

    def publish(self, messages: Sequence[Message]) -> list[Placed | IngestUnavailable]:
        """Send all of them and wait, ``timeout_ms`` at most for all together."""
        until = time.monotonic() + self._timeout_ms / 1000
        try:
            producer = self._connected()
        except IngestUnavailable as exc:
            return [exc for _ in messages]
        sent = [self._send(producer, each, until) for each in messages]
        results = [self._result(each, until) for each in sent]
        if any(isinstance(each, _Refused) for each in results) or self._is_stuck():
            self._replace(producer)
        return results

    def stop(self) -> None:
        """Close the producer; what is not acknowledged by then was never promised."""
        with self._lock:
            if self._producer is not None:
                _end(self._producer, 2)
                self._producer = None

    def _replace(self, producer: Any) -> None:
        # After a refusal for good a producer that keeps order sends nothing any more, so the next event needs another.
        with self._lock:
            if self._producer is producer:
                self._producer = None
                self._open.clear()
        _end(producer, 0)

    def _is_stuck(self) -> bool:
        with self._lock:
            while self._open and self._open[0][1].is_done:
                self._open.popleft()
            stuck = bool(self._open) and time.monotonic() - self._open[0][0] > self._stuck_seconds
        if stuck:
            log.warning("a producer keeps events for more than %g s; another takes its place", self._stuck_seconds)
        return stuck

    def _connected(self) -> Any:
        with self._lock:
            if self._producer is None:
                if time.monotonic() < self._not_before:
                    raise IngestUnavailable("Kafka is away, repeat the request later")
                try:
                    self._producer = self._build()
                except KafkaError as exc:
                    self._not_before = time.monotonic() + 1.0
                    raise IngestUnavailable(f"Kafka is away ({type(exc).__name__})") from exc
            return self._producer

    def _build(self) -> Any:
        clients: list[Any] = []

        def client(**options: Any) -> Any:
            clients.append(KafkaNetClient(**options))
            return clients[-1]

        try:
            return self._producer_on(client)
        except BaseException:
            for each in clients:  # a producer that can't be made leaves its sockets open
                each.close()
            raise

    def _producer_on(self, client: Callable[..., Any]) -> Any:
        return KafkaProducer(
            kafka_client=client,
            bootstrap_servers=self._bootstrap.split(","),
            acks="all",
            linger_ms=2,
            max_block_ms=self._timeout_ms,
            request_timeout_ms=2_000,
            delivery_timeout_ms=_DELIVERY_MS,
            reconnect_backoff_max_ms=1_000,
            bootstrap_timeout_ms=self._timeout_ms,
            max_request_size=LARGEST_EVENT + 48_576,
            security_protocol=self._access.protocol,
            sasl_mechanism=self._access.mechanism or None,
            sasl_plain_username=self._access.username or None,
            sasl_plain_password=self._access.password or None,
            ssl_cafile=self._access.ca_file or None,
        )

    def _send(self, producer: Any, message: Message, until: float) -> Any:
        if time.monotonic() > until:
            return IngestUnavailable("Kafka has not acknowledged in time")
        if not self._places.acquire(blocking=False):
            return IngestUnavailable("too many events wait for Kafka's acknowledgement")
        try:
            future = producer.send(message.topic, key=message.key, value=message.value)
        except KafkaError as exc:
            self._places.release()
            return IngestUnavailable(f"Kafka is away ({type(exc).__name__})")
        future.add_both(lambda _: self._places.release())
        with self._lock:
            if producer is self._producer:
                self._open.append((time.monotonic(), future))
        return future

    def _result(self, sent: Any, until: float) -> Placed | IngestUnavailable:
        if isinstance(sent, IngestUnavailable):
            return sent
        try:
            metadata = sent.get(timeout=max(0.0, until - time.monotonic()))
        except KafkaError as exc:
            kind = IngestUnavailable if exc.retriable else _Refused
            return kind(f"Kafka has not acknowledged ({type(exc).__name__}); repeat with the same event_id")
        return Placed(metadata.topic, metadata.partition, metadata.offset)


def _end(producer: Any, seconds: float) -> None:
    """Close a producer, also one that can't send what it has: that one refuses to be closed, and its thread goes on."""
    try:
        producer.close(timeout=seconds)
    except KafkaError:
        producer._sender.force_close()  # gives up what is open, and so gives back the places
