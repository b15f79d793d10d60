"""Batches into Redis, and how far they go beside what they wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import redis

from reccore.layout import FOLLOWED
from redisaccess.cluster import ClusterClient
from reweigh.follow.on_cluster import OnCluster
from reweigh.follow.table import Batch, name_of, place_of
from reweigh.topic_source import Place


class Writing(Protocol):
    """Where batches go. Raises ``redis.RedisError`` and ``OSError``."""

    def positions(self) -> dict[Place, int]:
        """Give the offsets from which to read on; partitions that are not named from the beginning."""

    def write(self, batch: Batch, known: Mapping[Place, int]) -> bool:
        """Write a batch that begins at the positions ``known``, unless these are not the positions any more."""


def writing_of(client: Any) -> Writing:
    """Give what writes where a client's commands go."""
    return OnCluster(client) if isinstance(client, ClusterClient) else OnOneServer(client)


class OnOneServer:
    """One server: a batch and its offsets are one transaction, which a change of the offsets prevents."""

    def __init__(self, client: Any) -> None:
        self._redis = client

    def positions(self) -> dict[Place, int]:
        """Give what is stored."""
        return {place_of(name): int(offset) for name, offset in self._redis.hgetall(FOLLOWED).items()}

    def write(self, batch: Batch, known: Mapping[Place, int]) -> bool:
        """Write all of it or nothing."""
        changes = [table.changes([each.record for each in judged]) for table, judged in batch.tables]
        with self._redis.pipeline(transaction=True) as pipeline:
            while True:
                try:
                    pipeline.watch(FOLLOWED)
                    stored = pipeline.hmget(FOLLOWED, [name_of(place) for place in batch.ends])
                    expected = (known.get(place) for place in batch.ends)
                    if any(
                        each != (None if at is None else str(at)) for each, at in zip(stored, expected, strict=True)
                    ):
                        return False
                    for each in changes:
                        each.read(self._redis)  # whoever else writes these keys moves the offsets that are watched
                    pipeline.multi()
                    for each in changes:
                        each.queue(pipeline)
                    pipeline.hset(FOLLOWED, mapping={name_of(place): offset for place, offset in batch.ends.items()})
                    pipeline.execute()
                except redis.WatchError:
                    continue
                return True
