"""Where RabbitMQ comes from, and which parts the stack starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.local import Stack, StackError, rabbitmq
from deploy.local.__main__ import _default_parts
from deploy.local.debian_packages import RABBITMQ
from deploy.local.parts import DEFAULT_PARTS
from deploy.local.processes import processes_of


def made(folder: Path, *names: str) -> Path:
    """Make folders below one."""
    for name in names:
        (folder / name).mkdir(parents=True)
    return folder


def test_what_is_installed_is_found(tmp_path: Path) -> None:
    """The newest of several, and only where Erlang is there too."""
    root = made(tmp_path, *(f"usr/lib/rabbitmq/lib/rabbitmq_server-3.{n}.0/plugins" for n in (8, 9)))
    assert rabbitmq.installed(root, path=os.devnull) is None
    made(tmp_path, "usr/lib/erlang/erts-13.1/bin")
    found = rabbitmq.installed(root, path=os.devnull)
    assert found is not None
    assert found.rabbitmq.name == "rabbitmq_server-3.9.0"
    assert found.programs == root / "usr/lib/erlang/erts-13.1/bin"


def test_programs_on_the_search_path_are_found(tmp_path: Path) -> None:
    """As they are unpacked from archives."""
    made(tmp_path, "rabbit/sbin", "rabbit/plugins", "otp/bin", "otp/erts-14/bin", "bin")
    for program in ("rabbit/sbin/rabbitmq-server", "otp/bin/erl"):
        (tmp_path / program).touch(mode=0o755)
        (tmp_path / "bin" / Path(program).name).symlink_to(tmp_path / program)
    found = rabbitmq.installed(tmp_path / "empty", path=str(tmp_path / "bin"))
    assert found == rabbitmq.Installation(tmp_path / "otp", tmp_path / "rabbit")


def test_without_apt_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is left in the cache."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(StackError, match="install rabbitmq-server"):
        RABBITMQ.unpack(print)


def test_packages_that_can_not_be_had_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the end of what apt says; and nothing is left in the cache."""
    for program in ("apt-get", "dpkg-deb"):
        (tmp_path / program).write_text("#!/bin/sh\necho no such release >&2\nexit 100\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(StackError, match=r"apt-get update failed.*\n.*no such release"):
        RABBITMQ.unpack(lambda _: None)
    assert list((tmp_path / "cache").iterdir()) == []


def test_parts_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """RabbitMQ and the bridge are started where that is wanted, or where they were already."""
    monkeypatch.delenv("STACK_JOB", raising=False)
    monkeypatch.delenv("STACK_RABBITMQ", raising=False)
    assert _default_parts(()) == DEFAULT_PARTS
    assert _default_parts(("rabbitmq", "bridge")) == (*DEFAULT_PARTS, "rabbitmq", "bridge")
    monkeypatch.setenv("STACK_RABBITMQ", "on")
    assert _default_parts(()) == (*DEFAULT_PARTS, "rabbitmq", "bridge")
    monkeypatch.setenv("STACK_RABBITMQ", "yes")
    with pytest.raises(StackError, match="STACK_RABBITMQ"):
        _default_parts(())


def test_no_daemon_and_no_port_but_its_own(servers: Stack) -> None:
    """RabbitMQ listens where its clients are and nowhere else, and epmd is not started."""
    listening = {
        connection.laddr.port
        for process in processes_of(servers.home.stack_id)
        if process.name() == "beam.smp"
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    }
    assert listening == {servers.addresses.ports["rabbitmq"]}
    assert "epmd" not in {process.name() for process in processes_of(servers.home.stack_id)}
    assert servers.env["RABBITMQ_PORT"] == str(servers.addresses.ports["rabbitmq"])
