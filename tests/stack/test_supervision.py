"""What the supervisor is taken for while it ends."""

from __future__ import annotations

import xmlrpc.client
from pathlib import Path

import pytest

from deploy.local.home import Home
from deploy.local.supervision import Supervisor


def answered(monkeypatch: pytest.MonkeyPatch, exc: Exception) -> None:
    """Have the supervisor answer everything with it."""

    def call(*_: object) -> None:
        raise exc

    monkeypatch.setattr(Supervisor, "_call", call)


def test_one_that_is_ending_is_still_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It refuses everything while it waits for a program that was between two starts."""
    answered(monkeypatch, xmlrpc.client.Fault(6, "SHUTDOWN_STATE"))
    assert Supervisor(Home.at(tmp_path)).is_alive


def test_one_that_does_not_answer_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody listens at its socket."""
    answered(monkeypatch, FileNotFoundError())
    assert not Supervisor(Home.at(tmp_path)).is_alive
