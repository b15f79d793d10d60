"""Where an answer's weights and statistics come from."""

from __future__ import annotations

from typing import Protocol

from recsvc.statistics import Snapshot
from zkconfig.watcher import WeightsInForce


class WeightsSource(Protocol):
    """Where the weights come from; :class:`zkconfig.WeightsWatcher` is one."""

    @property
    def in_force(self) -> WeightsInForce:
        """Weights and version, as one value."""

    @property
    def connected(self) -> bool:
        """Whether ZooKeeper is there to tell of changes."""


class StatisticsSource(Protocol):
    """Where the statistics come from; :class:`recsvc.statistics_feed.StatisticsFeed` is one."""

    @property
    def snapshot(self) -> Snapshot:
        """Everybody's counts."""

    @property
    def loaded(self) -> bool:
        """Whether they were read at least once."""
