"""A replay's dealings with the stack around it, without servers."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from deploy.local import Stack
from deploy.local.flink import savepoints_folder
from deploy.local.job import is_outdated, job_options, restore_from
from deploy.local.ports import choose_ports
from deploy.local.settings import read_settings
from deploy.local.submission import Submission, state_shape, write_submission
from reccore.errors import SettingError
from reweigh import cli, commands
from reweigh.errors import CommandError
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


@pytest.mark.parametrize("both", list(itertools.combinations(("--check", "--keep", "--drop"), 2)))
def test_what_becomes_of_the_result_is_said_once(both: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A check drops what it has compared, so nothing would be left to keep."""
    parser = cli.build_parser()
    for each in both:
        parser.parse_args(["replay", each])
    with pytest.raises(SystemExit):
        parser.parse_args(["replay", *both])
    assert "not allowed with" in capsys.readouterr().err


def test_a_part_of_the_log_does_not_become_live(stack: Stack) -> None:
    """It would replace full counts by partial ones."""
    with pytest.raises(CommandError, match="a part of the log can't replace the whole"):
        Replay(stack, Wish(from_ms=1), lambda *_: None, say)
    for wish in (Wish(from_ms=1, check=True), Wish(from_ms=1, keep=True)):
        Replay(stack, wish, lambda *_: None, say)


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("", 0),
        ("ts=1700000000", 1_700_000_000_000),
        ("ts=1700000000123", 1_700_000_000_123),
        ("ts=2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("last=30s", 1_699_999_970_000),
        ("last=90m", 1_699_994_600_000),
        ("last=24h", 1_699_913_600_000),
        ("last=0.5d", 1_699_956_800_000),
        ("last=100000d", 0),
    ],
)
def test_a_part_of_the_log_by_time(text: str, time_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a time, or from so long ago; nothing means all of it."""
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    assert commands._since(text) == time_ms


@pytest.mark.parametrize(
    "text", ["last=24", "last=h", "last=-1h", "last=0h", "last=infd", "last=nanh", "ts=", "ts=soon", "24h", "topics"]
)
def test_a_time_that_is_none_is_refused(text: str) -> None:
    """The message says what is allowed."""
    with pytest.raises(SettingError, match=r"--from.*last=24h"):
        commands._since(text)
