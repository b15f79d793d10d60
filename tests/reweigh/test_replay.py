"""A replay's dealings with the stack around it, without servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local import Stack
from deploy.local.flink import savepoints_folder
from deploy.local.job import is_outdated, job_options, restore_from
from deploy.local.ports import choose_ports
from deploy.local.settings import read_settings
from deploy.local.submission import Submission, state_shape, write_submission
from reweigh.live_job import LiveJob
from reweigh.replay import Replay
from reweigh.wish import Done, Wish

OTHER_SETTINGS = {"EXTRA_EVENT_TYPES": "wishlist:wishlist-events"}


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """One that was started with the defaults, for a command that is given other settings; nothing of it runs."""
    stack = Stack(tmp_path / "home", environment=OTHER_SETTINGS)
    stack.home.create()
    savepoints_folder(stack.home).mkdir(parents=True)
    choose_ports(stack.home, {}, ())
    before = read_settings(stack.home, {})
    write_submission(stack.home, Submission(job_options(stack.env, before), state_shape(before), 0))
    return stack


def say(_: str) -> None:
    """Nothing."""


def test_the_keeper_goes_on_from_the_rebuild_whatever_comes_after_it(stack: Stack, tmp_path: Path) -> None:
    """It reads the remembered settings alone: with the old ones it would count from the first record, in place."""
    savepoint = tmp_path / "savepoint-1a"
    savepoint.mkdir()
    (savepoint / "_metadata").write_text("x")
    live_job = LiveJob(stack, say, lambda: None)
    assert live_job.goes_on_from(savepoint)
    settings_of_the_keeper = read_settings(stack.home, {})
    restore = restore_from(stack.home, settings_of_the_keeper)
    assert restore is not None
    assert restore.path.name == savepoint.name
    assert not is_outdated(stack.home, stack.env, settings_of_the_keeper)
    assert live_job.goes_on_from(savepoint)  # interrupted, and run again


def test_settings_are_the_stacks_only_with_a_state_of_theirs(stack: Stack, tmp_path: Path) -> None:
    """Where the savepoint is gone, the live job goes on as it was."""
    before = read_settings(stack.home, {})
    assert not LiveJob(stack, say, lambda: None).goes_on_from(tmp_path / "savepoint-1a")
    assert read_settings(stack.home, {}) == before


@pytest.mark.parametrize(("wish", "told"), [(Wish(), 1), (Wish(check=True), 0), (Wish(keep=True), 0)])
def test_the_servers_are_told_of_settings_that_the_keeper_has_already(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, wish: Wish, told: int
) -> None:
    """What was remembered in between does not hide that they have changed."""
    ups: list[Stack] = []
    monkeypatch.setattr(stack, "up", lambda: ups.append(stack))
    replay = Replay(stack, wish, lambda *_: None, say)

    def run() -> Done:
        stack.remember()
        return Done(1, 1.0, 1.0)

    monkeypatch.setattr(replay, "_run", run)
    replay.run()
    assert ups == [stack] * told
