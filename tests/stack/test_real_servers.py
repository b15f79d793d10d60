"""The stack with real servers: started, damaged, repaired, stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local import Stack, StackError, redis_server
from deploy.local.home import CHECKOUT
from deploy.local.processes import processes_of
from deploy.local.server import get_json

PARTS = ("zookeeper", "kafka", "redis", "flink")
HOME = CHECKOUT / ".local" / "test-stack"
PATIENCE = 240  # seconds; a busy machine is no failure

pytestmark = [
    pytest.mark.timeout(900),
    # kafka-python reads its own files in a way that Python 3.11 has deprecated.
    pytest.mark.filterwarnings("ignore:.* is deprecated. Use files:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Four servers in a home of their own."""
    with Stack(HOME, PARTS) as stack:
        yield stack
    assert processes_of(stack.home.stack_id) == []


def _redis(stack: Stack, *words: str) -> str:
    request = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    with socket.create_connection(("127.0.0.1", stack.addresses.ports["redis"]), timeout=10) as connection:
        connection.sendall(request.encode())
        return connection.recv(1000).decode()


def test_addresses_are_written(stack: Stack) -> None:
    """Nothing but `stack.env` is needed to use the stack, and only its owner reads it."""
    lines = dict(line.split("=", 1) for line in stack.home.stack_env.read_text().splitlines())
    assert lines == stack.env
    assert {
        "KAFKA_BOOTSTRAP",
        "ZOOKEEPER_HOSTS",
        "REDIS_URL",
        "FLINK_REST",
        "FLINK_HOME",
        "API_URL",
        "CONFIG_API_KEY",
    } <= set(lines)
    assert stack.home.stack_env.stat().st_mode & 0o077 == 0


def test_cluster_has_its_slots(stack: Stack) -> None:
    """JobManager and TaskManager found each other, and both give metrics."""
    overview = get_json(f"{stack.addresses.flink_rest}/overview")
    assert overview is not None
    assert overview["slots-total"] == stack.settings.sizes.slots
    for name in ("jobmanager_metrics", "taskmanager_metrics"):
        with socket.create_connection(("127.0.0.1", stack.addresses.ports[name]), timeout=10):
            pass


@pytest.mark.parametrize("server", ["redis", "zookeeper", "kafka", "taskmanager"])
def test_what_dies_is_started_again(stack: Stack, server: str) -> None:
    """The supervisor restarts it on the same port, and it answers."""
    if server == "redis":
        assert _redis(stack, "SET", "kept", "yes").startswith("+OK")
        time.sleep(1.5)  # the append-only file reaches the disk every second
    old = stack.kill(server)
    deadline = time.monotonic() + PATIENCE
    while stack.pid(server) in (0, old):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    stack.wait_ready(server, PATIENCE)
    if server == "redis":
        assert _redis(stack, "GET", "kept") == "$3\r\nyes\r\n"


def test_up_repairs_what_a_dead_supervisor_left(stack: Stack) -> None:
    """Nothing survives the supervisor, and `up` starts all of it again with its ports and data."""
    ports = stack.addresses.ports
    supervisor = stack.supervisor.pid()
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    stack.up(attached=True)
    assert stack.supervisor.pid() != supervisor
    assert stack.addresses.ports == ports
    assert _redis(stack, "GET", "kept") == "$3\r\nyes\r\n"


def test_up_again_changes_nothing(stack: Stack) -> None:
    """A stack that is fine is left alone."""
    before = {name: state.pid for name, state in stack.supervisor.states().items()}
    stack.up()
    assert {name: state.pid for name, state in stack.supervisor.states().items()} == before


def test_a_frozen_server_is_stopped_too(stack: Stack) -> None:
    """`down` leaves nothing, not even a process that can't hear it; a second `down` is no error."""
    stack.kill("taskmanager", signal.SIGSTOP)
    stack.down()
    assert processes_of(stack.home.stack_id) == []
    stack.down()


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    """The message names the port and the setting, and nothing is left running."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        environment = {**os.environ, "REWEIGH_REDIS_PORT": str(stranger.getsockname()[1])}
        broken = Stack(tmp_path / "home", ("redis",), environment=environment)
        with pytest.raises(StackError, match="REWEIGH_REDIS_PORT"):
            broken.up()
    assert processes_of(broken.home.stack_id) == []


def test_the_stack_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    """A test run that is killed leaves no server behind."""
    home = tmp_path / "home"
    script = f"""
import time
from deploy.local import Stack
with Stack({str(home)!r}, ("redis",)):
    print("up", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=CHECKOUT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        assert len(processes_of(Stack(home).home.stack_id)) >= 2
        holder.kill()
    deadline = time.monotonic() + PATIENCE
    while processes_of(Stack(home).home.stack_id):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_command_line(tmp_path: Path) -> None:
    """`up`, `status`, `down`, `clean` as the Makefile calls them, with their exit statuses."""
    home = tmp_path / "home"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deploy.local", "--home", str(home), *arguments]
        environment = {key: value for key, value in os.environ.items() if key != "HOME"}
        return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)

    assert run("status").returncode == 1
    started = run("up", "--parts", "redis,zookeeper")
    assert started.returncode == 0, started.stderr
    shown = run("status")
    assert shown.returncode == 0, shown.stdout
    assert "redis        answers" in shown.stdout
    assert run("down").returncode == 0
    assert run("status").returncode == 1
    assert run("clean").returncode == 0
    assert not home.exists()


def test_an_installed_redis_server_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `redis-server` is on the PATH runs, with the configuration that the package's server gets, too."""
    installed = tmp_path / "bin" / "redis-server"
    installed.parent.mkdir()
    installed.symlink_to(redis_server.executable())
    monkeypatch.setenv("PATH", f"{installed.parent}:{os.environ['PATH']}")
    with Stack(tmp_path / "home", ("redis",)) as stack:
        assert psutil.Process(stack.pid("redis")).cmdline()[0] == str(installed)
        assert _redis(stack, "CONFIG", "GET", "appendonly").split() == ["*2", "$10", "appendonly", "$3", "yes"]
