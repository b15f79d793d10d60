"""The ZooKeeper edge: the configuration in force, who has which version of it, and how it is changed.

Depends on :mod:`reccore` and kazoo only. No exception of kazoo leaves this package (see :mod:`zkconfig.errors`).
"""

from zkconfig.errors import ConfigError, ConfigUnavailable, VersionMismatch
from zkconfig.publisher import Published, WeightsPublisher
from zkconfig.watcher import WeightsInForce, WeightsWatcher, open_watcher

__all__ = [
    "ConfigError",
    "ConfigUnavailable",
    "Published",
    "VersionMismatch",
    "WeightsInForce",
    "WeightsPublisher",
    "WeightsWatcher",
    "open_watcher",
]
