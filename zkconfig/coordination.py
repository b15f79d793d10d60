"""What this package needs of ZooKeeper, as values and one protocol.

Two things fulfil it, and one contract test: :class:`zkconfig.kazoo_client.KazooCoordination` and
:class:`zkconfig.memory.MemoryCoordination`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

ANY_VERSION = -1


@dataclass(frozen=True, slots=True)
class Node:
    """One node as it was read. ``version`` counts its changes, ``modified`` is the mzxid, ``created`` the czxid.

    ``created_ms`` and ``modified_ms`` are when ZooKeeper made it and took the newest change, by its clock (epoch ms).
    """

    data: bytes
    version: int
    modified: int
    created: int
    created_ms: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Create:
    """Create a node whose parent exists; with ``sequence`` ZooKeeper appends a number to ``path``."""

    path: str
    data: bytes
    sequence: bool = False


@dataclass(frozen=True, slots=True)
class SetData:
    """Set the data of a node that exists and, unless ``version`` is ANY_VERSION, still has that version."""

    path: str
    data: bytes
    version: int = ANY_VERSION


Operation = Create | SetData
NodeCallback = Callable[[Node | None], None]


class Coordination(Protocol):
    """A client of ZooKeeper. Every call may raise ``ConfigUnavailable``; none blocks longer than its time limit."""

    def start(self) -> None:
        """Begin to connect, in the background and for as long as it takes; calling it again does nothing."""

    def stop(self) -> None:
        """End the session, which removes its ephemeral nodes; calling it again does nothing."""

    @property
    def connected(self) -> bool:
        """Whether a server answered within the session's time limit."""

    @property
    def session(self) -> int | None:
        """Number of the current session; another one means that the ephemeral nodes of the last are gone."""

    def on_connected(self, call: Callable[[], None]) -> None:
        """Run ``call`` in the background after each connection, and at once when connected already."""

    def submit(self, call: Callable[[], None]) -> None:
        """Run ``call`` in the background, one at a time, in the order given."""

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Run ``call`` in the background again and again."""

    def read(self, path: str) -> Node | None:
        """Read a node; None when there is none."""

    def read_many(self, paths: Sequence[str]) -> list[Node | None]:
        """Read several nodes in one round trip."""

    def children(self, path: str) -> list[str]:
        """Names of the children in ascending order; none when the node is missing."""

    def ensure(self, path: str) -> None:
        """Create a node, empty, and its parents, where they are missing."""

    def create_ephemeral(self, path: str, data: bytes) -> str:
        """Create a node that goes with the session; gives its path, a number appended."""

    def commit(self, operations: Sequence[Operation]) -> int:
        """Do all of the operations or none, and give the transaction's number (the mzxid of what it wrote).

        At least one operation sets data. Raises ``Conflict`` when none took effect, and ``ConfigUnavailable`` when it
        is not known whether they did.
        """

    def delete(self, path: str) -> None:
        """Delete a node; nothing happens when it is missing."""

    def settle(self, path: str) -> None:
        """Wait until whatever was written before, by anybody, shows in this session's reads."""

    def watch(self, path: str, callback: NodeCallback) -> None:
        """Call back with the node now and after changes, across sessions; quick changes may come as the last one."""
