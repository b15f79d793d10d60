"""`reweigh recommend publish`: goes through everybody, and goes on where an unfinished run was."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from typing import Any, Final

import redis
from tqdm import tqdm

from reccore.followed_topics import FollowedTopics
from redisaccess.clients import client_of
from reweigh.errors import CommandError
from reweigh.kafka import EventProducer, check_topics
from reweigh.publishing.everybody import Everybody, Position
from reweigh.publishing.lists import Basis, begin, made
from reweigh.settings import Settings, chosen_values, read_settings
from zkconfig.cli import connected
from zkconfig.documents import RANKING
from zkconfig.publisher import DocumentPublisher, WeightsPublisher
from zkconfig.watcher import WeightsInForce

_BATCHES_AHEAD: Final = 4
_SAVED_SECONDS: Final = 1.0

Made = list[tuple[bytes, bytes]]


def publish(options: argparse.Namespace) -> int:
    """Send everybody's list."""
    settings, (values, _) = read_settings(options.env), chosen_values(options.env)
    topic = FollowedTopics.from_settings(values, settings.event_types).recommendations
    bootstrap = settings.required("KAFKA_BOOTSTRAP")
    check_topics(bootstrap, [topic], access=settings.kafka_access)
    basis = _basis(settings, options.n)
    client: Any = client_of(basis.redis_url, decode_responses=True, socket_timeout=30.0, socket_connect_timeout=5.0)
    producer = EventProducer(bootstrap, access=settings.kafka_access)
    with closing(client):
        try:
            run = Run(Everybody(client, restart=options.restart), producer, topic)
            users = run.everybody(basis, options.processes or os.cpu_count() or 1)
        except redis.RedisError as exc:
            raise CommandError(f"Redis: {exc}") from exc
        except BrokenProcessPool as exc:
            raise CommandError("a process that makes lists has died; run it again, it goes on where it was") from exc
        finally:
            producer.close()
    print(f"{users:,} users' lists sent to {topic}, {run.rate:,.0f} users/s")
    return 0


class Run:
    """One publication. How far it is stands in Redis, always behind what Kafka has acknowledged."""

    def __init__(self, users: Everybody, producer: EventProducer, topic: str) -> None:
        self._users, self._producer, self._topic = users, producer, topic
        self._published = users.published
        self._saved = 0.0
        self.rate = 0.0

    def everybody(self, basis: Basis, processes: int) -> int:
        """Send the lists of all users; gives how many, those of the run that this goes on with included."""
        began, before = time.monotonic(), self._published
        context = multiprocessing.get_context("spawn")  # librdkafka and its threads don't survive a fork
        with (
            ProcessPoolExecutor(processes, mp_context=context, initializer=begin, initargs=(basis,)) as pool,
            tqdm(unit=" users", unit_scale=True, initial=self._published) as bar,
        ):
            waiting: deque[tuple[Future[Made], Position]] = deque()
            for position, batch in self._users.batches():
                waiting.append((pool.submit(made, batch), position))
                if len(waiting) > processes * _BATCHES_AHEAD:
                    bar.update(self._send(*waiting.popleft()))
            while waiting:
                bar.update(self._send(*waiting.popleft()))
        self._producer.flush()
        self._users.finish()
        self.rate = (self._published - before) / max(time.monotonic() - began, 1e-9)
        return self._published

    def _send(self, making: Future[Made], position: Position) -> int:
        lists = making.result()
        for key, value in lists:
            self._producer.send(self._topic, key, value)
        self._published += len(lists)
        if time.monotonic() - self._saved > _SAVED_SECONDS:
            self._producer.flush()
            self._users.note(position, self._published)
            self._saved = time.monotonic()
        return len(lists)


def _basis(settings: Settings, n: int) -> Basis:
    with connected(settings.required("ZOOKEEPER_HOSTS"), settings.zookeeper_auth) as coordination:
        weights = WeightsPublisher(coordination, settings.event_types).get()
        ranking = DocumentPublisher(coordination, RANKING).get()
    return Basis(
        settings.required("REDIS_URL"),
        settings.event_types,
        WeightsInForce(weights.document, weights.version, known=True),
        ranking.document,
        settings.tag_expiry_seconds,
        n,
    )
