"""The weights that a writer scores with: the newest that it has heard of, from ZooKeeper or from Redis."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import ClassVar

from flink_jobs.redis_store import RedisStore, WeightsStamp
from flink_jobs.settings import JobSettings
from reccore.weights import Weights, weights_of_record
from zkconfig import WeightsWatcher, open_watcher


@dataclass(frozen=True, slots=True)
class StampedWeights:
    """Weights as numbers for scoring, and as version and document for the comparison in Redis."""

    values: tuple[float, ...]
    stamp: WeightsStamp


class CurrentWeights:
    """One follower of the weights for all writing functions of a worker process."""

    _shared: ClassVar[dict[str, CurrentWeights]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, key: str, watcher: WeightsWatcher, settings: JobSettings) -> None:
        self._key, self._watcher, self._settings = key, watcher, settings
        self._users = 0
        self._learnt = self._taken = _stamped(watcher.in_force.weights, watcher.in_force.version)

    @classmethod
    def shared(cls, settings: JobSettings, store: RedisStore) -> CurrentWeights:
        """Give this process's follower, started at first use; each user releases it once.

        Redis tells the last good weights, for the case that ZooKeeper is away now.
        """
        with cls._lock:
            weights = cls._shared.get(settings.zookeeper_hosts)
            if weights is None:
                watcher = open_watcher(
                    settings.zookeeper_hosts,
                    settings.event_types,
                    role="writer",
                    auth=settings.zookeeper_auth,
                    last_good=store.read_weights_in_force(),
                )
                weights = cls(settings.zookeeper_hosts, watcher, settings)
                cls._shared[settings.zookeeper_hosts] = weights
            weights._users += 1
            return weights

    def release(self) -> None:
        """Stop following when the last user is done."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                del self._shared[self._key]
                self._watcher.stop()

    def current(self) -> StampedWeights:
        """Give the newest weights known, as one value."""
        in_force = self._watcher.in_force
        if in_force.version != self._taken.stamp.version:
            self._taken = _stamped(in_force.weights, in_force.version)
        return max(self._taken, self._learnt, key=lambda each: each.stamp.version)

    def learn(self, stamp: WeightsStamp) -> None:
        """Take newer weights that Redis named when it refused a batch, and that ZooKeeper has not told of yet."""
        self._learnt = _stamped(weights_of_record(stamp.document, self._settings.event_types), stamp.version)


def _stamped(weights: Weights, version: int) -> StampedWeights:
    return StampedWeights(weights.values, WeightsStamp(version, weights.as_json().decode()))
