"""How a program is started that ends with its caller."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.local.supervision import Program, start_held


def test_a_program_finds_its_scratch_folder_empty(tmp_path: Path) -> None:
    """What the one before it left there, killed before it could clear up, is gone at its start."""
    scratch, log = tmp_path / "a" / "scratch", tmp_path / "log"
    script = f"import pathlib; each = pathlib.Path({str(scratch)!r}); print(list(each.iterdir())); (each / 'x').mkdir()"
    program = Program(name="untidy", argv=(sys.executable, "-c", script), scratch=scratch)
    for _ in range(2):
        assert start_held(program, log).wait(30) == 0
    assert log.read_text() == "[]\n[]\n"
    assert (scratch / "x").is_dir()
