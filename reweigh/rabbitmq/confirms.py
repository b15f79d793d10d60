"""Publishing many messages at once, and knowing of each whether RabbitMQ has it.

pika's blocking connection waits for each confirmation before it sends the next message, which here was fourteen times
slower; so this runs pika's event loop itself, in the thread of the caller and only while something is published.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import pika
from pika.exceptions import ChannelClosedByBroker

from reweigh.rabbitmq.errors import TROUBLE, RabbitRefused, RabbitUnavailable, translated
from reweigh.rabbitmq.settings import RabbitSettings

MOST_AT_ONCE: Final = 1_000
PERSISTENT: Final = 2
_NOT_FOUND: Final = 404
_OPENING: Final = 10.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message: its body, and properties that make it persistent."""

    body: bytes
    properties: pika.BasicProperties


class ConfirmedPublisher:
    """Publishes into one durable queue, which is created where there is none. Connects when it is needed."""

    def __init__(self, settings: RabbitSettings, queue: str) -> None:
        self._settings, self._queue = settings, queue
        self._session: _Session | None = None

    def publish(self, messages: Sequence[Outgoing], seconds: float) -> list[RabbitUnavailable | None]:
        """Publish all of them; gives for each None once it is confirmed, else why that is not known.

        ``seconds`` bounds the time for connecting and for all messages together. Raises :class:`RabbitRefused`.
        """
        until = time.monotonic() + seconds
        results: list[RabbitUnavailable | None] = []
        failed: dict[int, RabbitUnavailable] = {}
        for first in range(0, len(messages), MOST_AT_ONCE):
            some = messages[first : first + MOST_AT_ONCE]
            failed = self._publish(some, until)
            results += [failed.get(number) for number in range(len(some))]
            if failed:  # the others would fare no better
                break
        untried = len(messages) - len(results)
        return results + [next(iter(failed.values()))] * untried if untried else results

    def close(self) -> None:
        """Let go of the connection."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _publish(self, messages: Sequence[Outgoing], until: float) -> dict[int, RabbitUnavailable]:
        """Publish and give what was not confirmed by its place."""
        session = self._session
        if session is None or not session.is_open:
            self.close()
            try:
                session = _Session(self._settings, self._queue)
            except TROUBLE as exc:
                return dict.fromkeys(range(len(messages)), self._unavailable(exc))
            self._session = session
        failed = session.publish(messages, until)
        if session.error is not None or failed:
            self.close()
        if isinstance(session.error, RabbitRefused):
            raise session.error
        return failed

    def _unavailable(self, exc: BaseException) -> RabbitUnavailable:
        error = translated(exc, self._settings.address)
        if isinstance(error, RabbitRefused):
            raise error from exc
        return error


class _Session:
    """One connection with one channel in confirm mode; of no use any more once ``error`` is set."""

    def __init__(self, settings: RabbitSettings, queue: str) -> None:
        self._settings, self._queue = settings, queue
        self.error: RabbitUnavailable | RabbitRefused | None = None
        self._channel: Any = None
        self._ready = False
        self._waiting: dict[int, int] = {}  # place of a message by its delivery tag, in the order of the tags
        self._next_tag = 1
        self._nacked: list[int] = []
        self._is_done: Callable[[], bool] = lambda: False
        # Nobody listens between two batches, so no heartbeat could be answered; TCP's own find a dead peer.
        self._connection = pika.SelectConnection(
            settings.parameters(heartbeat=0),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
            on_open_error_callback=lambda _, exc: self._fail(exc),
            on_close_callback=lambda _, exc: self._fail(exc),
        )

    @property
    def is_open(self) -> bool:
        """Whether it is worth trying."""
        return self.error is None and not self._connection.is_closed

    def publish(self, messages: Sequence[Outgoing], until: float) -> dict[int, RabbitUnavailable]:
        """Publish all and give what was not confirmed by ``until``, by its place."""
        self._nacked.clear()
        self._run(lambda: self._ready, until)
        if self.error is None and self._ready:
            for number, message in enumerate(messages):
                self._waiting[self._next_tag] = number
                self._next_tag += 1
                self._channel.basic_publish("", self._queue, message.body, message.properties, mandatory=True)
            self._run(lambda: not self._waiting, until)
            unknown = [*self._waiting.values(), *self._nacked]
        else:
            unknown = list(range(len(messages)))
        error = self.error if isinstance(self.error, RabbitUnavailable) else self._late()
        return dict.fromkeys(unknown, error)

    def close(self) -> None:
        """Close the connection if it is open, within a second."""
        # pika can't close what it is still opening; that ends by itself, one way or the other, within seconds.
        self._loop(lambda: bool(self._connection.is_open or self._connection.is_closed), time.monotonic() + _OPENING)
        self.error = self.error or RabbitUnavailable("closed")
        if self._connection.is_open:
            with suppress(*TROUBLE):
                self._connection.close()
            self._loop(lambda: bool(self._connection.is_closed), time.monotonic() + 1)
        self._connection.ioloop.close()

    def _late(self) -> RabbitUnavailable:
        if self._nacked:
            return RabbitUnavailable(f"RabbitMQ has not taken it into {self._queue}, which may be full")
        return RabbitUnavailable(f"RabbitMQ at {self._settings.address} has not confirmed in time")

    def _run(self, done: Callable[[], bool], until: float) -> None:
        self._loop(lambda: self.error is not None or done(), until)

    def _loop(self, done: Callable[[], bool], until: float) -> None:
        """Run pika's event loop until ``done`` or the time is over."""
        loop = self._connection.ioloop
        self._is_done = done
        while not done() and (left := until - time.monotonic()) > 0:
            timer = loop.call_later(left, loop.stop)
            loop.start()
            loop.remove_timeout(timer)

    def _progress(self) -> None:
        if self._is_done():
            self._connection.ioloop.stop()

    def _fail(self, exc: BaseException) -> None:
        self.error = self.error or translated(exc, self._settings.address)
        self._connection.ioloop.stop()

    def _opened(self, channel: Any) -> None:
        # Looked for first: one that was declared with other arguments, say as a quorum queue, is taken as it is.
        channel.add_on_close_callback(self._missing)
        channel.queue_declare(self._queue, passive=True, callback=lambda _: self._declared(channel))

    def _missing(self, _channel: Any, exc: BaseException) -> None:
        if self._ready or not (isinstance(exc, ChannelClosedByBroker) and exc.reply_code == _NOT_FOUND):
            self._fail(exc)
            return
        self._connection.channel(on_open_callback=self._create)

    def _create(self, channel: Any) -> None:
        channel.add_on_close_callback(lambda _, exc: self._fail(exc))
        channel.queue_declare(self._queue, durable=True, callback=lambda _: self._declared(channel))

    def _declared(self, channel: Any) -> None:
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed, callback=lambda _: self._confirming(channel))

    def _confirming(self, channel: Any) -> None:
        self._channel, self._ready = channel, True
        self._progress()

    def _confirmed(self, frame: Any) -> None:
        if self.error is not None:  # a message was returned: its confirmation says nothing
            return
        tags = [frame.method.delivery_tag]
        if frame.method.multiple:
            tags = [tag for tag in self._waiting if tag <= tags[0]]
        numbers = [self._waiting.pop(tag) for tag in tags if tag in self._waiting]
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self._nacked += numbers
        self._progress()

    def _returned(self, *_: object) -> None:
        self.error = RabbitUnavailable(f"the queue {self._queue} is gone")
        self._connection.ioloop.stop()
