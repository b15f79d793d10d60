"""Submitting the job: the command line, and when it is submitted."""

import zipfile
from itertools import islice
from pathlib import Path

import pytest

from deploy.local import flink
from deploy.local.checkpoints import Restore
from deploy.local.cluster_jobs import JobState, Step, next_step
from deploy.local.home import CHECKOUT, Home
from deploy.local.job import (
    build_archive,
    is_outdated,
    job_command,
    job_options,
    restore_from,
)
from deploy.local.job_keeper import delays
from deploy.local.settings import read_settings
from deploy.local.submission import Submission, read_submission, state_shape, write_submission

STACK_ENV = {
    "KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "ZOOKEEPER_HOSTS": "127.0.0.1:2",
    "REDIS_URL": "redis://127.0.0.1:3/0",
    "FLINK_REST": "http://127.0.0.1:4",
}


def _command(tmp_path: Path, environment: dict[str, str], restore: Restore | None = None) -> tuple[str, ...]:
    settings = read_settings(Home.at(tmp_path), environment)
    return job_command(STACK_ENV, settings, tmp_path / "job.zip", restore)


def _after(command: tuple[str, ...], option: str) -> str:
    return command[command.index(option) + 1]


def test_command_line(tmp_path: Path) -> None:
    """It is a plain `flink run`, detached, with the job's own options after the script."""
    command = _command(tmp_path, {"REWEIGH_PARALLELISM": "2", "TAG_EXPIRY_SECONDS": "3600"})
    assert command[0].endswith("/bin/flink")
    assert command[1:3] == ("run", "-d")
    assert _after(command, "-m") == "127.0.0.1:4"
    assert "flink-sql-connector-kafka" in _after(command, "--jarfile")
    assert _after(command, "-pyfs") == str(tmp_path / "job.zip")
    assert _after(command, "-py") == str(CHECKOUT / "flink_jobs" / "profile_job.py")
    options = command[command.index("-py") + 2 :]
    assert dict(zip(options[::2], options[1::2], strict=True)) == {
        "--kafka-bootstrap": "127.0.0.1:1",
        "--zookeeper-hosts": "127.0.0.1:2",
        "--redis-url": "redis://127.0.0.1:3/0",
        "--checkpoint-interval-ms": "5000",
        "--parallelism": "2",
        "--tag-expiry-seconds": "3600",
    }
    assert "-s" not in command


@pytest.mark.parametrize(("name", "mode"), [("chk-7", "CLAIM"), ("savepoint-1a-2b", "NO_CLAIM")])
def test_restoring(tmp_path: Path, name: str, mode: str) -> None:
    """Flink may delete a checkpoint once it is out of date, but never a savepoint: that belongs to the user."""
    command = _command(tmp_path, {}, Restore(tmp_path / name, 1))
    assert _after(command, "-s") == (tmp_path / name).as_uri()
    assert _after(command, "-claimMode") == mode


def test_archive_holds_the_packages_at_its_root(tmp_path: Path) -> None:
    """`-pyfs` names the parent of the packages, not the packages."""
    for name in ("reccore", "redisaccess", "zkconfig", "flink_jobs", "recsvc"):
        (tmp_path / name / "__pycache__").mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("")
        (tmp_path / name / "__pycache__" / "old.pyc").write_text("")
    with zipfile.ZipFile(build_archive(Home.at(tmp_path / "home"), tmp_path)) as archive:
        packages = ("flink_jobs", "reccore", "redisaccess", "zkconfig")
        assert sorted(archive.namelist()) == [f"{name}/__init__.py" for name in packages]


def _job(state: str) -> JobState:
    return JobState("id", state, 0, vertices=3, running=3 if state == "RUNNING" else 0)


@pytest.mark.parametrize(
    ("jobs", "slots", "step"),
    [
        (None, 2, Step.WAIT),
        ([], 0, Step.WAIT),
        ([], 2, Step.SUBMIT),
        *(([_job(state)], 2, Step.SUBMIT) for state in ("FAILED", "CANCELED", "FINISHED")),
        *(
            ([_job(state)], 2, Step.NOTHING)
            for state in ("INITIALIZING", "CREATED", "RUNNING", "RESTARTING", "FAILING", "CANCELLING", "RECONCILING")
        ),
        ([_job("FAILED"), _job("RESTARTING")], 2, Step.NOTHING),
    ],
)
def test_never_two_jobs(jobs: list[JobState] | None, slots: int, step: Step) -> None:
    """The job is submitted only when it is certain that there is none, and that there is room for it."""
    assert next_step(jobs, slots, parallelism=2) is step


def test_a_job_runs_when_every_vertex_runs() -> None:
    """Flink calls a job RUNNING long before its vertices are."""
    assert JobState("id", "RUNNING", 0, vertices=3, running=3).is_running
    assert not JobState("id", "RUNNING", 0, vertices=3, running=2).is_running
    assert not JobState("id", "RUNNING", 0, vertices=0, running=0).is_running


def test_delays_grow_to_half_a_minute_and_never_end() -> None:
    """Attempts have no limit."""
    assert list(islice(delays(), 8)) == [1, 2, 4, 8, 15, 30, 30, 30]


def test_changed_settings_reach_a_running_job(tmp_path: Path) -> None:
    """A job that was submitted with other settings is outdated; one that was submitted with these is not."""
    home = Home.at(tmp_path)
    before, after = (read_settings(home, {"DEDUPLICATION_WINDOW_SECONDS": text}) for text in ("60", "120"))
    assert not is_outdated(home, STACK_ENV, before)  # nothing is known of a job of an older release
    write_submission(home, Submission(job_options(STACK_ENV, before), state_shape(before), 0))
    assert not is_outdated(home, STACK_ENV, before)
    assert is_outdated(home, STACK_ENV, after)
    assert is_outdated(home, {**STACK_ENV, "REDIS_URL": "redis://127.0.0.1:9/0"}, before)


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"DEDUPLICATION_WINDOW_SECONDS": "60"}, True),
        ({"REWEIGH_PARALLELISM": "2"}, True),
        ({"EXTRA_EVENT_TYPES": "wishlist:wishlist-events"}, False),
        ({"VIEW_TOPIC": "looks"}, False),
        ({"TAG_EXPIRY_SECONDS": "60"}, False),
        ({"MOST_TAGS_PER_USER": "20"}, False),
        ({"MOST_PRODUCTS_PER_USER": "0"}, False),
        ({"METADATA_NUMBERS": "duration_ms,scroll"}, False),
    ],
)
def test_state_of_another_shape_is_not_restored(tmp_path: Path, changed: dict[str, str], kept: bool) -> None:
    """With another event type each count has another column: then the topics are counted from their first record."""
    home = Home.at(tmp_path)
    checkpoint = flink.checkpoints_folder(home) / "job" / "chk-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "_metadata").write_text("x")
    before, after = read_settings(home, {}), read_settings(home, changed)
    write_submission(home, Submission(job_options(STACK_ENV, before), state_shape(before), 0))
    found = restore_from(home, after)
    assert (found is not None) is kept
    assert restore_from(home, before) is not None


def test_a_damaged_record_is_no_obstacle(tmp_path: Path) -> None:
    """What can't be read counts as not there."""
    home = Home.at(tmp_path)
    assert read_submission(home) is None
    written = Submission(("--a", "b"), "shape", 7)
    write_submission(home, written)
    assert read_submission(home) == written
    (tmp_path / "job" / "submission.json").write_text("{")
    assert read_submission(home) is None
