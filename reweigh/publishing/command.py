"""`reweigh recommend publish`: goes through everybody, and goes on where an unfinished run was."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from typing import Any, Final

import redis
from tqdm import tqdm

from reccore import layout
from reccore.followed_topics import FollowedTopics
from redisaccess.clients import client_of
from reweigh.errors import CommandError
from reweigh.kafka import EventProducer, check_topics
from reweigh.one_database import refuse_cluster
from reweigh.publishing.lists import Basis, begin, made
from reweigh.settings import Settings, chosen_values, read_settings
from zkconfig.cli import connected
from zkconfig.documents import RANKING
from zkconfig.publisher import DocumentPublisher, WeightsPublisher
from zkconfig.watcher import WeightsInForce

_KEYS_A_SCAN: Final = 1_000
_USERS_A_BATCH: Final = 100
_BATCHES_AHEAD: Final = 4
_SAVED_SECONDS: Final = 1.0
_RESUMED_SECONDS: Final = 3_600
"""An older unfinished run is not gone on with: what it has sent is old by now."""

Made = list[tuple[bytes, bytes]]


def publish(options: argparse.Namespace) -> int:
    """Send everybody's list."""
    settings, (values, _) = read_settings(options.env), chosen_values(options.env)
    refuse_cluster(
        settings.required("REDIS_URL"), "reweigh recommend publish", "it goes on from a cursor of one server"
    )
    topic = FollowedTopics.from_settings(values, settings.event_types).recommendations
    bootstrap = settings.required("KAFKA_BOOTSTRAP")
    check_topics(bootstrap, [topic], access=settings.kafka_access)
    basis = _basis(settings, options.n)
    client: Any = client_of(basis.redis_url, decode_responses=True, socket_timeout=30.0, socket_connect_timeout=5.0)
    producer = EventProducer(bootstrap, access=settings.kafka_access)
    with closing(client):
        run = Run(client, producer, topic, restart=options.restart)
        try:
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

    def __init__(self, client: Any, producer: EventProducer, topic: str, *, restart: bool) -> None:
        self._redis, self._producer, self._topic = client, producer, topic
        self._server = self._server_now()
        self._cursor, self._published = (0, 0) if restart else self._unfinished()
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
            waiting: deque[tuple[Future[Made], int]] = deque()
            for cursor, batch in self._batches():
                waiting.append((pool.submit(made, batch), cursor))
                if len(waiting) > processes * _BATCHES_AHEAD:
                    bar.update(self._send(*waiting.popleft()))
            while waiting:
                bar.update(self._send(*waiting.popleft()))
        self._producer.flush()
        self._redis.delete(layout.PUBLISHING)
        if self._server_now() != self._server:
            raise CommandError("Redis was restarted meanwhile, so somebody may be missing: run it again")
        self.rate = (self._published - before) / max(time.monotonic() - began, 1e-9)
        return self._published

    def _send(self, making: Future[Made], cursor: int) -> int:
        lists = making.result()
        for key, value in lists:
            self._producer.send(self._topic, key, value)
        self._published += len(lists)
        if time.monotonic() - self._saved > _SAVED_SECONDS:
            self._producer.flush()
            now = f"{time.time():.0f}"
            fields = {"cursor": cursor, "published": self._published, "began": now, "server": self._server}
            self._redis.hset(layout.PUBLISHING, mapping=fields)
            self._saved = time.monotonic()
        return len(lists)

    def _batches(self) -> Iterator[tuple[int, list[str]]]:
        """Give users, each batch with the cursor from which one has to go on to miss nobody after it.

        Redis may name a key twice while it grows; nobody is left out who was there all the time.
        """
        cursor, seen = self._cursor, set[str]()
        while True:
            from_here = cursor
            cursor, keys = self._redis.scan(cursor, match="{*:*", count=_KEYS_A_SCAN)
            fresh = {user for key in keys if (user := layout.user_with_history(key)) is not None} - seen
            seen |= fresh
            batch = sorted(fresh)
            for start in range(0, len(batch), _USERS_A_BATCH):
                yield from_here, batch[start : start + _USERS_A_BATCH]
            if cursor == 0:
                return

    def _server_now(self) -> str:
        """Give what names this run of the server: a cursor means nothing to another."""
        return str(self._redis.info("server").get("run_id"))

    def _unfinished(self) -> tuple[int, int]:
        found = self._redis.hgetall(layout.PUBLISHING)
        try:
            if time.time() - float(found["began"]) < _RESUMED_SECONDS and found["server"] == self._server:
                return int(found["cursor"]), int(found["published"])
        except (KeyError, ValueError):
            pass
        return 0, 0


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
