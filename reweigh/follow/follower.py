"""Carries topics into Redis, each record once: how far a partition is stands in Redis beside what it wrote.

Both are written at once, on a cluster slot by slot, which is refused when somebody else has moved a partition
meanwhile; then, and after Redis has lost its data, the topics are read on from where Redis says. So no record is left
out or brought back by an older one, whoever is killed and however many of these run (:mod:`reweigh.follow.writing`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import redis

from reccore.dead_letters import dead_letter, dead_letter_key
from reccore.errors import RejectedEvent
from reweigh.errors import CommandError
from reweigh.follow.metrics import Metrics
from reweigh.follow.table import Batch, Judged, Table
from reweigh.follow.writing import Writing
from reweigh.kafka import EventProducer
from reweigh.topic_source import Place, Source

log = logging.getLogger(__name__)

GROUP: Final = "reweigh-follow"
_POLL_SECONDS: Final = 0.1
_RECORDS_A_TRANSACTION: Final = 500
"""So many are some milliseconds in which Redis serves nobody else."""
_LAG_SECONDS: Final = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class Follower:
    """One run, until ``ending`` is set. Trouble with Kafka or Redis is waited out."""

    def __init__(
        self,
        source: Mapping[str, Any],
        writing: Writing,
        tables: Sequence[Table],
        dead_letters: tuple[Callable[[], EventProducer], str],
        ending: threading.Event,
    ) -> None:
        """``source`` are the arguments of :class:`Source`; ``dead_letters`` what makes a producer, and the topic."""
        self._arguments, self._writing, self._ending = source, writing, ending
        self._tables = {table.topic: table for table in tables}
        self._make_producer, self._dead_letter_topic = dead_letters
        self._producer: EventProducer
        self._known: dict[Place, int] = {}
        """What Redis said of the offsets, or was told."""
        self.metrics = Metrics()

    def run(self) -> None:
        """Follow until the end is asked for."""
        pause = _FIRST_PAUSE
        while not self._ending.is_set():
            try:
                self._producer = self._make_producer()  # one that has failed once is of no more use
                with closing(self._source()) as source:
                    log.info("following %s", ", ".join(self._tables))
                    pause = _FIRST_PAUSE
                    self._follow(source)
            except (redis.RedisError, OSError, CommandError) as exc:
                log.warning("waiting, nothing is lost: %s", exc)
                self._ending.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _source(self) -> Source:
        self._known = self._writing.positions()
        return Source(topics=self._tables, positions=self._known, group=GROUP, **self._arguments)

    def _follow(self, source: Source) -> None:
        looked = 0.0
        while not self._ending.is_set():
            messages = source.poll(_POLL_SECONDS, _RECORDS_A_TRANSACTION)
            as_known = self._take(messages) if messages else True
            if as_known and time.monotonic() - looked > _LAG_SECONDS:
                looked = time.monotonic()
                self.metrics.lag.set(source.lag())
                source.tell(self._known)
                # Where it is quiet, nothing else would tell of a loss.
                as_known = self._writing.positions() == self._known
            if not as_known:
                log.info("somebody else has written, or Redis has lost its data: reading on from where Redis says")
                self._known = self._writing.positions()
                source.go_to(self._known)

    def _take(self, messages: Sequence[Any]) -> bool:
        """Write what these come to, unless Redis is not as it is known."""
        judged: dict[str, list[Judged]] = {}
        outcomes: list[tuple[str, str]] = []
        for message in messages:
            topic = message.topic()
            try:
                record = self._tables[topic].judge(message.key(), message.value(), message.timestamp()[1])
                place = (topic, message.partition())
                judged.setdefault(topic, []).append(Judged(place, message.offset(), record))
                outcomes.append((topic, "applied"))
            except RejectedEvent as exc:
                self._bury(message, exc)
                outcomes.append((topic, "dead"))
        self._producer.flush()
        ends = {(message.topic(), message.partition()): message.offset() + 1 for message in messages}
        batch = Batch(ends, [(self._tables[topic], each) for topic, each in judged.items()])
        if not self._writing.write(batch, self._known):
            return False
        self._known |= ends
        for outcome in outcomes:
            self.metrics.processed.labels(*outcome).inc()
        return True

    def _bury(self, message: Any, error: RejectedEvent) -> None:
        place = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
        letter = dead_letter(
            str(error.reason), error.detail, timestamp=message.timestamp()[1], raw=message.value(), **place
        )
        self._producer.send(self._dead_letter_topic, dead_letter_key(**place).encode(), letter.encode())
