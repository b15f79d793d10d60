"""Who uses the configuration: each process registers with the versions that it has in force."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from zkconfig.coordination import Coordination, SetData
from zkconfig.documents import MEMBERS
from zkconfig.errors import Conflict

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Member:
    """A registered process. ``versions`` is by document name; ``since`` the ISO 8601 time of its registration."""

    name: str
    role: str
    host: str
    pid: int
    versions: dict[str, int]
    since: str

    @property
    def version(self) -> int:
        """Version of the weights that it has in force."""
        return self.versions.get("weights", 0)


class Presence:
    """This process's ephemeral node; made again after a lost session, brought up to date after each change."""

    def __init__(self, coordination: Coordination, role: str) -> None:
        self._coordination, self.role = coordination, role
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._prefix = f"{role}-{self._host}-{self._pid}-"
        self._token = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._versions: dict[str, int] = {}
        self._path = ""
        self._session: int | None = None
        self._written: bytes = b""
        self._since = ""
        self._begun = False

    @property
    def name(self) -> str:
        """The node's name; empty before the first registration."""
        return self._path.rpartition("/")[2]

    def have(self, name: str, version: int) -> None:
        """Tell that this process has ``version`` of document ``name`` in force; returns at once.

        Any thread may tell, late too: a version never falls. The background thread writes what is newest by then.
        """
        with self._lock:
            self._versions = {**self._versions, name: max(version, self._versions.get(name, version))}
            begins, self._begun = not self._begun, True
        if begins:
            self._coordination.on_connected(self._register)
            self._coordination.every(LOOK_SECONDS, self._look)
        self._coordination.submit(self._register)

    def _look(self) -> None:
        if self._path and self._coordination.read(self._path) is None:
            self._session = None
        self._register()
        if self._path and self._coordination.connected:
            self._remove_lost(but=self.name)

    def _register(self) -> None:
        if not self._coordination.connected:
            return
        session, versions = self._coordination.session, self._versions
        if self._session != session or not self._path:
            self._since = datetime.now(UTC).isoformat(timespec="milliseconds")
            data = self._data(versions)
            self._remove_lost()
            self._path = self._coordination.create_ephemeral(f"{MEMBERS}/{self._prefix}", data)
            self._session, self._written = session, data
            return
        data = self._data(versions)
        if data == self._written:
            return
        try:
            self._coordination.commit([SetData(self._path, data)])
            self._written = data
        except Conflict:
            self._session = None
            self._register()

    def _remove_lost(self, but: str = "") -> None:
        """Remove nodes of this process that were made although the answer to that got lost, or came too late.

        Such a one would stand for a process that never has new weights, and for a sweeper that is to work before this.
        """
        for name in self._coordination.children(MEMBERS):
            if name.startswith(self._prefix) and name != but:
                path = f"{MEMBERS}/{name}"
                node = self._coordination.read(path)
                if node is not None and self._token.encode() in node.data:
                    self._coordination.delete(path)

    def _data(self, versions: dict[str, int]) -> bytes:
        member = {"role": self.role, "host": self._host, "pid": self._pid, "version": versions.get("weights", 0)}
        return json.dumps({**member, "versions": versions, "since": self._since, "token": self._token}).encode()


def read_members(coordination: Coordination) -> list[Member]:
    """Give the registered processes in order of their names. Raises ``ConfigUnavailable``."""
    names = coordination.children(MEMBERS)
    nodes = coordination.read_many([f"{MEMBERS}/{name}" for name in names])
    found = [_member(name, node.data) for name, node in zip(names, nodes, strict=True) if node is not None]
    return [each for each in found if each is not None]


def _member(name: str, data: bytes) -> Member | None:
    try:
        value = json.loads(data)
        versions = {str(each): int(version) for each, version in value["versions"].items()}
        return Member(name, str(value["role"]), str(value["host"]), int(value["pid"]), versions, str(value["since"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
