"""What kazoo is made to do beyond what any :class:`~zkconfig.coordination.Coordination` does."""

from __future__ import annotations

import socket

import pytest

from reweigh import cli
from tests.waiting import wait_until
from zkconfig.kazoo_client import KazooCoordination


@pytest.mark.parametrize("chroot", ["", "/shop"])
def test_a_server_that_never_answers_is_asked_again(chroot: str) -> None:
    """It has taken the connection, and the session's time is far from over."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.0)
        coordination = KazooCoordination(f"127.0.0.1:{silent.getsockname()[1]}{chroot}", session_seconds=30.0)
        coordination.start()
        taken = list[socket.socket]()

        def asked_twice() -> bool:
            try:
                taken.append(silent.accept()[0])
            except BlockingIOError:
                return False
            return len(taken) == 2

        try:
            wait_until(asked_twice, 20.0)
        finally:
            for each in taken:
                each.close()
            coordination.stop()


def test_a_command_without_zookeeper_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """And not a line for each attempt to connect."""
    monkeypatch.setattr("zkconfig.cli.CONNECT_SECONDS", 1.0)
    monkeypatch.setenv("ZOOKEEPER_HOSTS", "127.0.0.1:1")
    assert cli.main(["weights", "get"]) == 1
    assert capsys.readouterr().err == "no ZooKeeper answers at 127.0.0.1:1 (ZOOKEEPER_HOSTS)\n"
    assert not [each for each in caplog.records if each.name == "zkconfig.kazoo"]
