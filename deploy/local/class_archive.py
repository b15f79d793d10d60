"""The classes of Flink's servers, found, parsed and verified once: an archive that the JVM maps at its next start.

Most of a TaskManager's start goes into loading some fifteen thousand classes, and after a crash everybody waits for it.
Once the job has run for a while the job keeper has each server write those that it has loaded by then to a file in
the cache (the JVM's dynamic class-data sharing, JEP 350). A JVM that can't map it, since anything has changed, starts
without; so does one whose Java can't write it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.home import Home, cache_folder
from deploy.local.java import java_home

_WRITE_SECONDS = 120
_ALWAYS = "-Xshare:auto\n-Xlog:cds=error\n"  # or it names each of thousands of classes that it can't keep


def can_write() -> bool:
    """Whether this Java has what it takes: `jcmd`, and an archive of its own classes, on which ours is built."""
    return (java_home() / "bin" / "jcmd").exists() and (java_home() / "lib" / "server" / "classes.jsa").exists()


def archive_file(server: str, class_path: str) -> Path:
    """Return where the archive of a server (`jobmanager`, `taskmanager`) lies for this Java and class path."""
    release = java_home() / "release"
    described = [str(java_home()), release.read_text() if release.exists() else "", class_path]
    digest = hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
    return cache_folder() / "classes" / f"{server}-{digest}.jsa"


def options_argument(home: Home, server: str, class_path: str) -> str:
    """Return the argument that has `java` read what it is to do about the archive, at each start anew."""
    _write_options(home, server, archive_file(server, class_path))
    return f"@{_options_file(home, server)}"


def write_archives(home: Home, class_path: str, pids: Mapping[str, int]) -> list[str]:
    """Have each server without an archive write one, and return the names of those that did.

    A server stands still meanwhile, for some seconds.

    Args:
        home: The stack.
        class_path: Of its servers.
        pids: Process id by the server's name.

    Raises:
        StackError: A server could not do it.
    """
    if not can_write():
        return []
    written = []
    for server, pid in pids.items():
        archive = archive_file(server, class_path)
        if not archive.exists():
            archive.parent.mkdir(parents=True, exist_ok=True)
            draft = archive.with_suffix(f".{os.getpid()}.draft")
            try:
                _ask(pid, draft)
                draft.replace(archive)  # a server that is killed while it writes leaves half a file
            finally:
                draft.unlink(missing_ok=True)
            written.append(server)
        _write_options(home, server, archive)
    return written


def _ask(pid: int, draft: Path) -> None:
    command = java_home() / "bin" / "jcmd"
    try:
        done = subprocess.run(
            (command, str(pid), "VM.cds", "dynamic_dump", f'"{draft}"'),
            capture_output=True,
            text=True,
            timeout=_WRITE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{command} took longer than {_WRITE_SECONDS} s") from error
    if done.returncode != 0 or not draft.exists():
        raise StackError(f"no archive of classes was written: {(done.stdout + done.stderr).strip()[-300:]}")


def _write_options(home: Home, server: str, archive: Path) -> None:
    if archive.exists():
        quoted = str(archive).replace("\\", "\\\\").replace('"', '\\"')
        further = f'"-XX:SharedArchiveFile={quoted}"\n'
    else:
        further = "-XX:+RecordDynamicDumpInfo\n" if can_write() else ""
    _options_file(home, server).write_text(_ALWAYS + further)


def _options_file(home: Home, server: str) -> Path:
    return home.flink / f"{server}-classes.args"
