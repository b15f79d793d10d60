"""The exceptions of the ZooKeeper edge.

ReweighError
└── ConfigError
    ├── ConfigUnavailable    ZooKeeper does not answer; for a write: whether it took effect may be unknown
    │   └── ConfigRefused    ZooKeeper answers that this user may not; nothing took effect
    ├── Conflict             another client was faster; nothing of the transaction took effect
    └── VersionMismatch      the document in force is not the one that the caller has seen
"""

from __future__ import annotations

from reccore.errors import ReweighError


class ConfigError(ReweighError):
    """Base of the errors of this package."""


class ConfigUnavailable(ConfigError):
    """ZooKeeper is away or does not answer in time."""


class ConfigRefused(ConfigUnavailable):
    """ZooKeeper has refused the user."""


class Conflict(ConfigError):
    """A transaction was refused as a whole, because a node is not as the caller has seen it."""


class VersionMismatch(ConfigError):
    """A conditional change came too late; ``current`` is the version of the document in force."""

    def __init__(self, name: str, current: int) -> None:
        super().__init__(f"{name}: version {current} is in force, which is not the one that the change was made for")
        self.name, self.current = name, current
