"""Programs out of Debian's (or Ubuntu's) packages, unpacked into the cache: nothing is installed.

apt keeps its lists and files in a folder of its own, so no root is needed and the system's state is left alone.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.home import cache_folder

_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Bundle:
    """Packages that are unpacked together.

    Args:
        name: What people call it.
        folder: Where it goes in the cache.
        packages: Which ones.
        megabytes: How much is downloaded.
        advice: What to install instead where they can't be had.
    """

    name: str
    folder: str
    packages: tuple[str, ...]
    megabytes: int
    advice: str

    @property
    def root(self) -> Path:
        """Where the packages are unpacked, whether they are there yet or not."""
        return cache_folder() / self.folder

    def unpack(self, tell: Callable[[str], None]) -> None:
        """Download and unpack the packages, unless that was done; `tell` is given a line about the progress.

        The folder has its final name only when it is whole, so several processes may do this at once.

        Raises:
            StackError: There is no apt, or it can't get the packages.
        """
        target = self.root
        if target.exists():
            return
        for program in ("apt-get", "dpkg-deb"):
            if shutil.which(program) is None:
                raise StackError(
                    f"{self.name} is not installed, and without {program} it can't be had from Debian's packages: "
                    f"install {self.advice}"
                )
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".fetching-{self.folder}-", dir=target.parent) as scratch:
            whole = self._fetch(Path(scratch), tell)
            try:
                whole.rename(target)
            except OSError:
                if not target.exists():  # else another process was quicker
                    raise

    def _fetch(self, scratch: Path, tell: Callable[[str], None]) -> Path:
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
        tell(f"fetching {self.name}: reading the lists of packages")
        self._run(("apt-get", *options, "update"), scratch)
        tell(f"fetching {self.name}: {len(self.packages)} packages, {self.megabytes} MB")
        self._run(("apt-get", *options, "download", *self.packages), files)
        for package in sorted(files.glob("*.deb")):
            self._run(("dpkg-deb", "-x", str(package), str(root)), scratch)
        return root

    def _run(self, command: Sequence[str], folder: Path) -> None:
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise StackError(f"{' '.join(command[:1])} took more than {_SECONDS} s. Is the network there?") from error
        if done.returncode != 0:
            what = f"{command[0]} {next(word for word in command[1:] if not word.startswith('-o'))}"
            raise StackError(
                f"{self.name} could not be had from Debian's packages: {what} failed. Is the network there? Or install "
                f"{self.advice} yourself. The end of its output:\n{(done.stdout + done.stderr)[-1500:]}"
            )


RABBITMQ = Bundle(
    "RabbitMQ",
    "rabbitmq-server",
    (
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
    ),
    35,
    "rabbitmq-server (with Erlang), so that rabbitmq-server and erl are found on PATH",
)
PROMETHEUS = Bundle(
    "Prometheus",
    "prometheus",
    ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter"),
    34,
    "prometheus, alertmanager and node_exporter, so that these and promtool are found on PATH",
)
