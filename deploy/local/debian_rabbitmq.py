"""RabbitMQ and Erlang out of Debian's (or Ubuntu's) packages, unpacked into the cache: nothing is installed.

apt keeps its lists and files in a folder of its own, so no root is needed and the system's state is left alone.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.home import cache_folder

PACKAGES = (
    "rabbitmq-server",
    "erlang-base",
    "erlang-asn1",
    "erlang-crypto",
    "erlang-eldap",
    "erlang-inets",
    "erlang-mnesia",
    "erlang-os-mon",
    "erlang-parsetools",
    "erlang-public-key",
    "erlang-runtime-tools",
    "erlang-ssl",
    "erlang-syntax-tools",
    "erlang-tools",
    "erlang-xmerl",
)
_SECONDS = 300


def unpacked_folder() -> Path:
    """Return where the packages are unpacked, whether they are there yet or not."""
    return cache_folder() / "rabbitmq-server"


def unpack_packages(tell: Callable[[str], None]) -> None:
    """Download and unpack the packages, unless that was done; `tell` is given a line about the progress.

    The folder has its final name only when it is whole, so several processes may do this at once.

    Raises:
        StackError: There is no apt, or it can't get the packages.
    """
    target = unpacked_folder()
    if target.exists():
        return
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise StackError(
                f"RabbitMQ is not installed, and without {program} it can't be had from Debian's packages: install "
                "rabbitmq-server (with Erlang), so that rabbitmq-server and erl are found on PATH"
            )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-rabbitmq-", dir=target.parent) as scratch:
        whole = _unpack(Path(scratch), tell)
        try:
            whole.rename(target)
        except OSError:
            if not target.exists():  # else another process was quicker
                raise


def _unpack(scratch: Path, tell: Callable[[str], None]) -> Path:
    files, root = scratch / "files", scratch / "root"
    for folder in (files, root, scratch / "lists" / "partial", scratch / "cache" / "archives" / "partial"):
        folder.mkdir(parents=True)
    (scratch / "status").touch()
    options = (
        f"-oDir::State={scratch}",
        f"-oDir::State::status={scratch / 'status'}",
        f"-oDir::Cache={scratch / 'cache'}",
        "-oAPT::Sandbox::User=root",  # as root it would change to a user who may not enter this folder
    )
    tell("fetching RabbitMQ: reading the lists of packages")
    _run(("apt-get", *options, "update"), scratch)
    tell(f"fetching RabbitMQ: {len(PACKAGES)} packages, 35 MB")
    _run(("apt-get", *options, "download", *PACKAGES), files)
    for package in sorted(files.glob("*.deb")):
        _run(("dpkg-deb", "-x", str(package), str(root)), scratch)
    return root


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{' '.join(command[:1])} took more than {_SECONDS} s. Is the network there?") from error
    if done.returncode != 0:
        what = f"{command[0]} {next(word for word in command[1:] if not word.startswith('-o'))}"
        raise StackError(
            f"RabbitMQ could not be had from Debian's packages: {what} failed. Is the network there? Or install "
            f"rabbitmq-server yourself. The end of its output:\n{(done.stdout + done.stderr)[-1500:]}"
        )
