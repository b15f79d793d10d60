"""`reweigh job` against a cluster that is made up: what it submits, what it refuses, and for what it waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from deploy.local import Stack, flink, job
from deploy.local.cluster_jobs import JobState
from deploy.local.home import Home
from deploy.local.job import job_options
from deploy.local.settings import read_settings, remember_settings
from deploy.local.submission import Submission, state_shape, write_submission
from reweigh import cli
from reweigh import job as job_module
from reweigh.errors import CommandError
from reweigh.job import JobControl

STACK_ENV = {
    "KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "ZOOKEEPER_HOSTS": "127.0.0.1:2",
    "REDIS_URL": "redis://127.0.0.1:3/0",
    "FLINK_REST": "http://127.0.0.1:4",
}


@dataclass
class Cluster:
    """A stack whose keeper submits the job as soon as it is asked for, and which counts what was submitted directly."""

    home: Home
    keeper: int = 0
    parallelism: int = 0
    """Of the job that runs; 0: there is none."""
    submitted: list[Any] = field(default_factory=list)
    anew: list[bool] = field(default_factory=list)
    """Whether each of these was to count what Kafka has left."""
    number: int = 0
    env = STACK_ENV

    def pid(self, _name: str) -> int:
        """Of the keeper."""
        return self.keeper

    def run(self) -> None:
        """Have another job, with the parallelism that is remembered."""
        self.number, self.parallelism = self.number + 1, read_settings(self.home, {}).sizes.parallelism

    def submit(
        self, home: Home, _env: object, _settings: object, _log: Path, restore: object = None, *, anew: bool = False
    ) -> str:
        """As the command does it without the keeper."""
        assert home == self.home
        self.anew.append(anew)
        self.submitted.append(restore)
        self.run()
        return ""

    def stop(self, home: Home, *_: object) -> Path:
        """As with a savepoint."""
        home.job_stopped.touch()
        self.parallelism = 0
        return Path("savepoint-1")

    def jobs(self, _rest: str) -> list[JobState]:
        """List the job, after the keeper has done its work."""
        wanted = read_settings(self.home, {}).sizes.parallelism
        if self.keeper and not self.home.job_stopped.exists() and self.parallelism != wanted:
            self.run()
        return [JobState(str(self.number), "RUNNING", 0, vertices=1, running=1)] if self.parallelism else []

    def details(self, _url: str) -> dict[str, Any]:
        """Tell the parallelism of its only vertex."""
        return {"vertices": [{"parallelism": self.parallelism}]}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Nothing runs, and there is no state."""
    home = Home.at(tmp_path)
    home.create()
    made = Cluster(home)
    monkeypatch.setattr(job_module, "list_jobs", made.jobs)
    monkeypatch.setattr(job_module, "get_json", made.details)
    monkeypatch.setattr(job_module, "submit", made.submit)
    monkeypatch.setattr(job_module, "stop_with_savepoint", made.stop)
    monkeypatch.setattr(job_module, "_START_SECONDS", 0.0)
    monkeypatch.setattr(job_module, "_SAVEPOINT_SECONDS", 0.0)
    return made


def control(cluster: Cluster) -> JobControl:
    """The job of that stack."""
    return JobControl(cast("Stack", cluster))


def _state(home: Home) -> Path:
    """Leave a checkpoint of a job with the settings of now."""
    folder = flink.checkpoints_folder(home) / "job" / "chk-1"
    folder.mkdir(parents=True)
    (folder / "_metadata").write_text("x")
    settings = read_settings(home, {})
    write_submission(home, Submission(job_options(STACK_ENV, settings), state_shape(settings), 0))
    return folder


def test_without_a_keeper_it_is_submitted_directly(cluster: Cluster) -> None:
    """After ``STACK_JOB=none make up`` nobody else would do it."""
    said = control(cluster).submit()
    assert "the first record" in said
    assert cluster.submitted == [None]
    state = _state(cluster.home)
    control(cluster).stop()
    assert str(state) in control(cluster).resume(None)
    assert cluster.submitted == [None, None]
    assert not cluster.home.job_stopped.exists()


def test_nothing_is_stopped_where_nobody_answers(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no mark is left that would keep the job from being started."""
    monkeypatch.setattr(job_module, "list_jobs", lambda _rest: None)
    with pytest.raises(CommandError, match="does not answer: `make up`"):
        control(cluster).stop()
    assert not cluster.home.job_stopped.exists()


def test_a_keeper_is_left_to_submit_it(cluster: Cluster) -> None:
    """Two would be in each other's way; a state that was chosen only the command knows."""
    cluster.keeper = 7
    cluster.home.job_stopped.touch()
    state = _state(cluster.home)
    assert str(state) in control(cluster).submit()
    assert cluster.submitted == []
    control(cluster).stop()
    control(cluster).resume(state)
    assert [restore.path for restore in cluster.submitted] == [state]
    assert not cluster.home.job_stopped.exists()


def test_state_of_another_shape_is_not_passed_over(cluster: Cluster) -> None:
    """Counting in place makes profiles poor for as long as it takes, so it has to be asked for."""
    state = _state(cluster.home)
    cluster.home.job_stopped.touch()
    remember_settings(cluster.home, {"TAG_EXPIRY_SECONDS": "60"})
    with pytest.raises(CommandError, match=rf"{state}.*reweigh replay.*--anew"):
        control(cluster).submit()
    assert cluster.submitted == []
    assert cluster.home.job_stopped.exists()
    assert "the first record" in control(cluster).submit(anew=True)
    assert cluster.submitted == [None]


@pytest.mark.parametrize("keeper", [0, 7])
def test_what_is_left_of_the_log_is_counted_only_when_asked_for(
    cluster: Cluster, keeper: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full counts would be replaced by partial ones; the keeper would refuse, so the command submits it itself."""
    cluster.keeper = keeper
    cluster.home.job_stopped.touch()
    monkeypatch.setattr(job, "deleted_beginnings", lambda *_: "view-events:0 (first offset 7)")
    with pytest.raises(CommandError, match=r"view-events:0.*reweigh replay --from archive.*--anew"):
        control(cluster).submit()
    assert cluster.submitted == []
    assert "the first record" in control(cluster).submit(anew=True)
    assert (cluster.submitted, cluster.anew) == ([None], [True])
    control(cluster).stop()
    state = _state(cluster.home)
    assert str(state) in control(cluster).submit(anew=True)
    assert cluster.anew == ([True] if keeper else [True, False])


@pytest.mark.parametrize("keeper", [0, 7])
def test_rescaling(cluster: Cluster, keeper: int) -> None:
    """By way of the keeper, or without one by a savepoint and a submission."""
    cluster.keeper = keeper
    cluster.run()
    assert "runs with 2" in control(cluster).rescale(2)
    assert (cluster.parallelism, cluster.number) == (2, 2)
    assert len(cluster.submitted) == (0 if keeper else 1)
    assert not cluster.home.job_stopped.exists()


@pytest.mark.parametrize("keeper", [0, 7])
def test_rescaling_to_what_is_in_force(cluster: Cluster, keeper: int) -> None:
    """The job is left alone: there is no other to wait for."""
    cluster.keeper = keeper
    cluster.run()
    assert "already" in control(cluster).rescale(1)
    assert cluster.number == 1


@pytest.mark.parametrize("keeper", [0, 7])
def test_what_is_stopped_is_not_rescaled(cluster: Cluster, keeper: int) -> None:
    """And nothing is remembered of it; nor is a job made where there was none."""
    cluster.keeper = keeper
    cluster.run()
    control(cluster).stop()
    with pytest.raises(CommandError, match="resume it first"):
        control(cluster).rescale(2)
    assert read_settings(cluster.home, {}).sizes.parallelism == 1
    cluster.home.job_stopped.unlink()
    if not keeper:
        with pytest.raises(CommandError, match="submit it first"):
            control(cluster).rescale(2)


def test_anew_is_an_option_of_submit() -> None:
    """Off unless it is given."""
    parser = cli.build_parser()
    assert not parser.parse_args(["job", "submit"]).anew
    assert parser.parse_args(["job", "submit", "--anew"]).anew
