"""Start one program so that it ends together with its supervisor. Standard library only: it runs before each program.

    python launch.py DESCRIPTION.json DIGEST

The description holds `argv`, `env`, `cwd`, `end_with_parent`, a signal's number, and `scratch`, a folder that the
program finds empty, or null. It is read from standard input when it is named `-`. DIGEST is not read: it makes the
supervisor see that a description changed.
"""

import ctypes
import json
import os
import shutil
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def end_with_parent(ending: int) -> None:
    """Ask the kernel to send the signal `ending` to this process, also after `exec`, when its parent dies.

    0 stands for none. Linux only.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, ending, 0, 0, 0)
    if os.getppid() != parent:  # it died in between
        sys.exit(1)


def main(description_file: str) -> None:
    """Become the described program."""
    description = json.loads(sys.stdin.read() if description_file == "-" else Path(description_file).read_text())
    end_with_parent(description["end_with_parent"])
    if description["scratch"] is not None:
        shutil.rmtree(description["scratch"], ignore_errors=True)
        Path(description["scratch"]).mkdir(parents=True, exist_ok=True)
    os.chdir(description["cwd"])
    environment = {**os.environ, **description["env"]}
    argv = description["argv"]
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1])
