"""What `make status` says of the job."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from deploy.local import status
from deploy.local.cluster_jobs import JobState
from deploy.local.home import Home
from deploy.local.settings import read_settings
from deploy.local.stack import Stack


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([JobState("a1", "RUNNING", 0, vertices=9, running=9)], "job: RUNNING, 9 of 9"),
        ([JobState("a1", "FINISHED", 0, vertices=9, running=0)], "job: stopped on purpose"),
        ([], "job: stopped on purpose"),
        (None, "job: stopped on purpose"),
    ],
)
def test_a_job_that_runs_is_not_called_stopped(
    jobs: list[JobState] | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `reweigh job stop` somebody may have submitted one by `flink run`."""
    home = Home.at(tmp_path)
    home.job_stopped.parent.mkdir(parents=True, exist_ok=True)
    home.job_stopped.touch()
    monkeypatch.setattr(status, "list_jobs", lambda _rest: jobs)
    stack = SimpleNamespace(home=home, settings=read_settings(home, {}), addresses=SimpleNamespace(flink_rest=""))
    assert status.job_line(cast("Stack", stack)).startswith(said)
