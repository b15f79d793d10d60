"""The bridge: consumes the queue and carries its events to Kafka, until it is told to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pika
from pika.exceptions import ChannelClosedByBroker

from reweigh.rabbitmq import metrics
from reweigh.rabbitmq.errors import TROUBLE, RabbitRefused, RabbitUnavailable, translated
from reweigh.rabbitmq.handling import Delivery, Handler
from reweigh.rabbitmq.settings import RabbitSettings

log = logging.getLogger(__name__)

LINGER_SECONDS: Final = 0.02
LOOK_SECONDS: Final = 0.25
LAG_SECONDS: Final = 2.0
FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 10.0
_NOT_FOUND: Final = 404


class Bridge:
    """Keeps a connection to RabbitMQ, collects what it hands out, and has it settled batch by batch.

    At most ``prefetch`` messages are in hand, half of them in a batch, so that the other half arrives meanwhile.
    """

    def __init__(self, settings: RabbitSettings, handler: Handler) -> None:
        self._settings, self._handler = settings, handler
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End soon: no further messages, those in hand are settled or go back into the queue."""
        self._stopping.set()

    def run(self) -> None:
        """Work until ``stop``, connecting anew for ever. Raises :class:`RabbitRefused`."""
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._consume()
            except (*TROUBLE, RabbitUnavailable) as exc:
                error = exc if isinstance(exc, RabbitUnavailable) else translated(exc, self._settings.address)
                if isinstance(error, RabbitRefused):
                    raise error from exc
                delay = FIRST_DELAY if time.monotonic() - began > LONGEST_DELAY else delay
                log.warning("%s; connecting again in %g s", error, delay)
                self._stopping.wait(delay)
                delay = min(2 * delay, LONGEST_DELAY)

    def _consume(self) -> None:
        connection = pika.BlockingConnection(self._settings.parameters())
        try:
            _Consumption(connection, self._settings, self._handler, self._stopping.is_set).run()
        finally:
            metrics.connected.set(0)
            metrics.lag.labels(self._settings.queue).set(float("nan"))
            with suppress(*TROUBLE):
                connection.close()


class _Consumption:
    """What one connection hands out."""

    def __init__(
        self, connection: Any, settings: RabbitSettings, handler: Handler, is_stopping: Callable[[], bool]
    ) -> None:
        self._connection, self._settings, self._handler = connection, settings, handler
        self._is_stopping = is_stopping
        self._hand: list[Delivery] = []
        self._most = max(1, settings.prefetch // 2)
        self._look_again = 0.0
        self._is_cancelled = False
        self._channel: Any = None

    def run(self) -> None:
        """Consume until told to stop; then settle what is in hand."""
        self._channel = _queue_channel(self._connection, self._settings.queue)
        self._channel.basic_qos(prefetch_count=self._settings.prefetch)
        self._channel.add_on_cancel_callback(self._cancelled)
        tag = self._channel.basic_consume(self._settings.queue, self._take)
        metrics.connected.set(1)
        log.info("consuming %s of RabbitMQ at %s", self._settings.queue, self._settings.address)
        while not self._is_stopping():
            self._collect()
            if self._hand:
                self._handle()
            self._measure()
        self._channel.basic_cancel(tag)  # what was not taken into the hand yet goes back into the queue
        while self._hand:
            self._handle()
        log.info("stopped: nothing is left in hand")

    def _take(self, _channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        self._hand.append(Delivery(method.delivery_tag, body, properties))

    def _cancelled(self, _frame: Any) -> None:
        self._is_cancelled = True

    def _collect(self) -> None:
        """Wait for messages, and a moment longer for more of them."""
        if not self._hand:
            self._listen(LOOK_SECONDS)
        until = time.monotonic() + LINGER_SECONDS
        while 0 < len(self._hand) < self._most and (left := until - time.monotonic()) > 0:
            self._listen(left)

    def _listen(self, seconds: float) -> None:
        self._connection.process_data_events(time_limit=seconds)
        if self._is_cancelled:
            raise RabbitUnavailable(f"the queue {self._settings.queue} was deleted or has moved")

    def _handle(self) -> None:
        batch, self._hand = self._hand[: self._most], self._hand[self._most :]
        self._handler.handle(self._channel, batch, self._wait)

    def _wait(self, seconds: float) -> bool:
        """Keep the connection alive for so long; what arrives meanwhile is bounded by the prefetch."""
        until = time.monotonic() + seconds
        while not self._is_stopping() and (left := until - time.monotonic()) > 0:
            self._listen(min(left, LOOK_SECONDS))
            self._measure()
        return not self._is_stopping()

    def _measure(self) -> None:
        now = time.monotonic()
        if now >= self._look_again:
            self._look_again = now + LAG_SECONDS
            declared = self._channel.queue_declare(self._settings.queue, passive=True)
            metrics.lag.labels(self._settings.queue).set(declared.method.message_count)


def _queue_channel(connection: Any, queue: str) -> Any:
    """Open a channel with the queue there: as it is, or durable where there is none."""
    channel = connection.channel()
    try:
        channel.queue_declare(queue, passive=True)
    except ChannelClosedByBroker as exc:
        if exc.reply_code != _NOT_FOUND:
            raise
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
    return channel
