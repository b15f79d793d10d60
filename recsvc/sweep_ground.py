"""What a pass of the sweep goes over: one server, or the masters of a cluster with what each slot has of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from reccore import layout
from reccore.slots import SLOTS, slot
from redisaccess.cluster import ClusterClient
from redisaccess.links import ClusterLink
from redisaccess.slot_scripts import SlotScript


class Ground(Protocol):
    """Where the users are. Raises ``redis.RedisError`` and ``OSError``."""

    is_cluster: bool

    def places(self) -> list[str]:
        """Name what has to be gone over."""

    def is_as_before(self) -> bool:
        """Whether all keys are still where they were when the places were named."""

    def connection(self, place: str) -> Any:
        """Give the connection for one of these."""

    def in_force_key(self, key: str) -> str:
        """Give the key of the weights in force to which writes of a user's key are tied; of one slot with it."""

    def raise_in_slots(self, script: str, arguments: Sequence[str]) -> None:
        """Carry out a script on the weights in force of each slot."""

    def close(self) -> None:
        """Disconnect."""


def ground_of(client: Any) -> Ground:
    """Give what a client's passes go over."""
    return _Cluster(client) if isinstance(client, ClusterClient) else _Server(client)


class _Server:
    is_cluster = False

    def __init__(self, client: Any) -> None:
        self._connection: Any = client.connection_pool.make_connection()

    def places(self) -> list[str]:
        return [""]

    def is_as_before(self) -> bool:
        return True

    def connection(self, place: str) -> Any:  # noqa: ARG002
        return self._connection

    def in_force_key(self, key: str) -> str:  # noqa: ARG002
        return layout.WEIGHTS_IN_FORCE

    def raise_in_slots(self, script: str, arguments: Sequence[str]) -> None:
        """Do nothing: one record is for all."""

    def close(self) -> None:
        self._connection.disconnect()


class _Cluster:
    is_cluster = True

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._link = ClusterLink(client)
        self._slots: dict[int, str] = {}
        self._key_of: dict[str, str] = {}

    def places(self) -> list[str]:
        self._link.close()  # and with it what is known of the slots
        self._slots = self._client.slots()
        of_masters = {name: number for number, name in self._slots.items()}
        self._key_of = {name: layout.slot_writes_key(number) for name, number in of_masters.items()}
        return sorted(of_masters)

    def is_as_before(self) -> bool:
        self._client.forget()
        return self._client.slots() == self._slots

    def connection(self, place: str) -> Any:
        return self._link.connection_of(self._key_of[place])

    def in_force_key(self, key: str) -> str:
        return layout.slot_writes_key(slot(key))

    def raise_in_slots(self, script: str, arguments: Sequence[str]) -> None:
        list(SlotScript(script).in_slots(self._link, range(SLOTS), arguments, again=True))

    def close(self) -> None:
        self._link.close()
