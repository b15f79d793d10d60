"""What the documents print under "Try it", run as it is printed, against the running stack.

It comes after all tests that compare with the ledger, which doesn't know of these events.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import Stack
from deploy.local.home import CHECKOUT
from faults.at_rest import answer
from faults.patience import wait_until
from reweigh.cli import build_parser

pytestmark = pytest.mark.timeout(600)

DOORS = {"http_api.md": "try-http", "data.md": "try-file", "data_dictionary.md": "try-kafka"}
"""The documents of the ways by which events come in, and the user whose events they send."""


def printed(document: str) -> str:
    """The first block of commands under "Try it"."""
    text = (CHECKOUT / "docs" / document).read_text(encoding="utf-8")
    _, heading, rest = re.split(r"^(#+ Try it)$", text, maxsplit=1, flags=re.MULTILINE)
    found = re.search(r"^```sh\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL)
    assert heading
    assert found
    return found[1]


@pytest.mark.parametrize("document", DOORS)
def test_printed_commands_bring_events_in(whole: Stack, tmp_path: Path, document: str) -> None:
    """All but `make up`, which this stack stands for; files go to a folder of the test's own."""
    user = DOORS[document]
    (tmp_path / ".local").mkdir()
    shutil.copy(whole.home.stack_env, tmp_path / ".local" / "stack.env")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    commands = re.sub(r"^make up .*$", "", printed(document), flags=re.MULTILINE)
    commands = commands.replace("/tmp/", f"{tmp_path}/")  # noqa: S108
    assert "make" not in commands

    def said() -> str:
        done = subprocess.run(
            ["bash", "-euc", commands],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert f'"user_id":"{user}"' in done.stdout or ":503," in done.stdout, done.stdout
        return done.stdout

    # On a machine that stands still Kafka may be late (503); to repeat the commands brings no further tags.
    answers = {"http_api.md": r'"accepted":2.*"status":"accepted".*"state":"(applied|pending)"'}
    wait_until(
        "the commands are answered as the document says",
        lambda: re.search(answers.get(document, user), said(), re.DOTALL),
    )
    wait_until("the events count", lambda: set(answer(whole, f"/profile/{user}")["tags"]) == {"red", "shoes", "blue"})


@pytest.mark.parametrize("document", ["rabbitmq.md", "archive.md"])
def test_printed_commands_of_further_parts_can_be_read(document: str) -> None:
    """Whole where their servers run (`tests/rabbitmq`, `tests/archive`); here shell, commands and Python as printed."""
    commands = printed(document)
    assert subprocess.run(["bash", "-n", "-c", commands], capture_output=True, check=False, timeout=60).returncode == 0
    python = re.findall(r"python -c '\n(.*?)'$", commands, re.MULTILINE | re.DOTALL)
    assert all(ast.parse(each) for each in python)
    assert not re.search(r"^reweigh ", commands, re.MULTILINE), "nobody has it on the path of programs"
    reweigh = re.findall(r"^\.venv/bin/reweigh (.*)$", commands, re.MULTILINE)
    assert [build_parser().parse_args(shlex.split(each, comments=True)) for each in reweigh]
    assert "archive send" not in commands, "it is refused with the Kafka that the archive is of"
