"""Connections over which one thread sends commands itself: fewer steps than a client takes, and keys can be watched."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import hiredis
import redis
from redis.exceptions import AskError, ClusterError, MovedError, TryAgainError

from reccore.slots import slot
from redisaccess.cluster import ClusterClient
from redisaccess.exchange import Command, exchange

_SCRIPTS: Final = ("EVALSHA", "EVAL")
_CHANGING: Final = (AskError, ClusterError, TryAgainError)  # MOVED is an AskError too


class Link(Protocol):
    """Where one thread sends commands. Raises ``redis.RedisError`` and ``OSError``."""

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands and give their answers in order; an error of one is raised when all answers were read."""

    def close(self) -> None:
        """Disconnect; the next commands connect again."""


def link_of(client: Any) -> Link:
    """Make a link to where a client's commands go; for one thread. It connects at the first command."""
    if isinstance(client, ClusterClient):
        return ClusterLink(client)
    return ServerLink(client.connection_pool.make_connection())


class ServerLink:
    """One connection to one server."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._fresh = True

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one packet."""
        try:
            if not self._fresh:
                try:
                    return exchange(self._connection, commands)
                except redis.TimeoutError:
                    raise
                except (redis.ConnectionError, OSError):
                    # An idle connection may have been closed by a restart: that is known at once, so ask once more.
                    self.close()
            self._fresh = False
            return exchange(self._connection, commands)
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            self.close()
            raise

    def close(self) -> None:
        """Disconnect."""
        self._connection.disconnect()


class ClusterLink:
    """A connection to each node that is spoken to; commands without a key go to any of them."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._slots: dict[int, str] = {}
        self._masters: list[str] = []
        self._connections: dict[str, Any] = {}

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send to each node its commands in one packet, then read all answers.

        After a slot has moved, or a connection was closed, all of them are asked once more: so they have to be such as
        may be carried out twice.
        """
        try:
            return self.ask_once(commands)
        except redis.TimeoutError:
            raise
        except (redis.ConnectionError, OSError):
            return self.ask_once(commands)

    def ask_once(self, commands: Sequence[Command]) -> list[Any]:
        """Do so without asking again. A slot that moves is an error of the connection, as nobody serves it now."""
        try:
            return self._exchange(commands)
        except _CHANGING as exc:
            self.close()
            raise redis.ConnectionError(f"the cluster is changing: {exc}") from exc
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            self.close()
            raise

    def ask_every_master(self, command: Command) -> list[Any]:
        """Send one command to each master."""
        try:
            self._known_slots()
            for name in self._masters:
                self._send(name, [command])
            return _checked([self._answer(name) for name in self._masters])
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            self.close()
            raise

    def connection_of(self, key: str) -> Any:
        """Give the connection to the node that holds a key."""
        return self._connection(self._node_of(slot(key)))

    def close(self) -> None:
        """Disconnect, and ask for the nodes anew."""
        for connection in self._connections.values():
            connection.disconnect()
        self._connections, self._slots = {}, {}
        self._client.forget()

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        places: dict[str, list[int]] = {}
        self._known_slots()
        for number, command in enumerate(commands):
            key = _key(command)
            name = random.choice(self._masters) if key is None else self._node_of(slot(key))  # noqa: S311
            places.setdefault(name, []).append(number)
        for name, numbers in places.items():
            self._send(name, [commands[number] for number in numbers])
        answers: list[Any] = [None] * len(commands)
        for name, numbers in places.items():
            for number in numbers:
                answers[number] = self._answer(name)
        for number, answer in enumerate(answers):
            if isinstance(answer, AskError) and not isinstance(answer, MovedError):
                answers[number] = self._follow(answer, commands[number])
        return _checked(answers)

    def _follow(self, moving: AskError, command: Command) -> Any:
        """Ask the node that a slot is moving to, which has the keys that are not at the old one any more."""
        name = f"{moving.host}:{moving.port}"
        self._send(name, [("ASKING",), command])
        self._answer(name)
        return self._answer(name)

    def _send(self, name: str, commands: Iterable[Command]) -> None:
        packed = b"".join(hiredis.pack_command(each) for each in commands)  # type: ignore[arg-type]
        self._connection(name).send_packed_command([packed], check_health=False)

    def _answer(self, name: str) -> Any:
        try:
            return self._connections[name].read_response()
        except redis.ResponseError as exc:
            return exc

    def _known_slots(self) -> dict[int, str]:
        if not self._slots:
            self._slots = self._client.slots()
            self._masters = sorted(set(self._slots.values()))
        return self._slots

    def _node_of(self, number: int) -> str:
        try:
            return self._known_slots()[number]
        except KeyError:
            raise redis.ConnectionError(f"no node holds slot {number}") from None

    def _connection(self, name: str) -> Any:
        if name not in self._connections:
            node = next((each for each in self._client.masters() if each.name == name), None)
            if node is None:
                raise redis.ConnectionError(f"{name} holds no slot any more")
            self._connections[name] = self._client.server(node).connection_pool.make_connection()
        return self._connections[name]


def _key(command: Command) -> str | None:
    """Give the first key of a command, by which its node is found."""
    if command[0] in _SCRIPTS:
        return str(command[3])
    return str(command[1]) if len(command) > 1 else None


def _checked(answers: list[Any]) -> list[Any]:
    # That a slot has moved is told of first, whatever else went wrong.
    errors = [each for each in answers if isinstance(each, redis.RedisError)]
    for each in sorted(errors, key=lambda error: not isinstance(error, _CHANGING)):
        raise each
    return answers
