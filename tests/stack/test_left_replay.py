"""What a replay that was killed leaves on the cluster, with a JobManager that is made up."""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.local import job_keeper
from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.left_replay import end_left_replay
from reccore.job import JOB_NAME, REPLAY_JOB_NAME


class JobManager(ThreadingHTTPServer):
    """Lists jobs, and cancels them at once unless it refuses to."""

    daemon_threads = True

    def __init__(self) -> None:
        self.states = {"live": "RUNNING"}
        self.names = {"live": JOB_NAME}
        self.refuses = False
        super().__init__(("127.0.0.1", 0), Answers)

    @property
    def rest(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, identity: str, state: str) -> None:
        """Let there be the job of a replay."""
        self.states[identity], self.names[identity] = state, REPLAY_JOB_NAME


class Answers(BaseHTTPRequestHandler):
    """As Flink gives them."""

    server: JobManager

    def do_GET(self) -> None:
        """The overview."""
        tasks = {"total": 1, "running": 1}
        jobs = [
            {"jid": each, "name": self.server.names[each], "state": state, "start-time": 0, "tasks": tasks}
            for each, state in self.server.states.items()
        ]
        self._answer(200, {"jobs": jobs})

    def do_PATCH(self) -> None:
        """Cancel one."""
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refuses:
            self._answer(500, {"errors": ["refused"]})
            return
        self.server.states[self.path.split("/")[2].partition("?")[0]] = "CANCELED"
        self._answer(202, {})

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def cluster() -> Iterator[JobManager]:
    """The live job alone."""
    with JobManager() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Of a stack that runs."""
    home = Home.at(tmp_path)
    home.create()
    return home


def test_the_job_of_a_replay_that_was_killed_is_cancelled(home: Home, cluster: JobManager) -> None:
    """Once, and no other; one that has ended or is about to needs nobody."""
    assert end_left_replay(home, cluster.rest) == []
    for identity, state in (("left", "RESTARTING"), ("ended", "FINISHED"), ("ending", "CANCELLING")):
        cluster.add(identity, state)
    assert end_left_replay(home, cluster.rest) == ["left"]
    assert cluster.states == {"live": "RUNNING", "left": "CANCELED", "ended": "FINISHED", "ending": "CANCELLING"}
    assert end_left_replay(home, cluster.rest) == []


def test_the_job_of_a_replay_that_runs_is_left_alone(home: Home, cluster: JobManager) -> None:
    """It holds its lock; whoever has looked at that lets another replay begin."""
    cluster.add("second", "RUNNING")
    with home.replay_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert end_left_replay(home, cluster.rest) == []
    assert end_left_replay(home, cluster.rest) == ["second"]
    with home.replay_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_jobmanager_that_refuses_is_a_stack_error_and_one_that_is_gone_is_none(
    home: Home, cluster: JobManager
) -> None:
    """The keeper tries again."""
    cluster.add("left", "RUNNING")
    cluster.refuses = True
    with pytest.raises(StackError, match="500"):
        end_left_replay(home, cluster.rest)
    assert end_left_replay(home, "http://127.0.0.1:1") == []


def test_the_keeper_does_it_before_it_looks_for_a_free_slot(
    home: Home, cluster: JobManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live job may be waiting for just that one."""
    cluster.add("left", "RUNNING")
    home.stack_env.write_text(f"FLINK_REST={cluster.rest}\n")
    states: list[str] = []

    def looked(rest: str) -> int:
        assert rest == cluster.rest
        states.append(cluster.states["left"])
        raise EndedError

    monkeypatch.setattr(job_keeper, "POLL_SECONDS", 0)
    monkeypatch.setattr(job_keeper, "free_slots", looked)
    with pytest.raises(EndedError):
        job_keeper.keep(home)
    assert states == ["CANCELED"]


class EndedError(Exception):
    """Ends what never returns."""
