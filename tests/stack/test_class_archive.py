"""The archive of loaded classes: when a server writes one, and when it starts from it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import class_archive
from deploy.local.class_archive import archive_file, can_write, options_argument, write_archives
from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.java import java_home

HELLO = """public class Hello {
    public static void main(String[] words) throws Exception { System.out.println("here"); System.in.read(); }
}"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home, and a cache of its own, at paths with spaces in them."""
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "a cache here"))
    found = Home.at(tmp_path / "home of it")
    found.create()
    found.flink.mkdir(parents=True, exist_ok=True)
    return found


def test_another_class_path_has_another_archive(home: Home) -> None:
    """As have another server and another Java; what doesn't change keeps its own."""
    files = {archive_file("taskmanager", "a.jar"), archive_file("jobmanager", "a.jar"), archive_file("jobmanager", "b")}
    assert len(files) == 3
    assert archive_file("jobmanager", "b") in files


def test_a_jvm_writes_its_classes_and_the_next_one_maps_them(home: Home, tmp_path: Path) -> None:
    """The same command line does either, by what the file of options says at the moment."""
    tools, class_path = java_home() / "bin", str(tmp_path / "hello.jar")
    if not can_write():  # then there is no compiler either
        assert write_archives(home, class_path, {"taskmanager": os.getpid()}) == []
        return
    (tmp_path / "Hello.java").write_text(HELLO)
    subprocess.run((tools / "javac", "-d", tmp_path, tmp_path / "Hello.java"), check=True)
    subprocess.run((tools / "jar", "cf", class_path, "-C", tmp_path, "Hello.class"), check=True)
    command = (tools / "java", options_argument(home, "taskmanager", class_path), "-cp", class_path, "Hello")
    archive = str(archive_file("taskmanager", class_path))
    for written in (["taskmanager"], []):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout
                assert process.stdout.readline() == b"here\n"
                assert (archive in Path(f"/proc/{process.pid}/maps").read_text()) == (not written)
                assert write_archives(home, class_path, {"taskmanager": process.pid}) == written
            finally:
                process.kill()


def test_a_java_that_cannot_write_one_goes_without(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written, and nothing fails."""
    monkeypatch.setattr(class_archive, "java_home", lambda: tmp_path)
    assert write_archives(home, "a.jar", {"taskmanager": os.getpid()}) == []


def test_a_server_that_is_gone_leaves_nothing(home: Home) -> None:
    """Half an archive is none."""
    with subprocess.Popen((sys.executable, "-c", "")) as process:
        process.wait()
    if can_write():
        with pytest.raises(StackError, match="no archive of classes was written"):
            write_archives(home, "a.jar", {"taskmanager": process.pid})
    assert list(archive_file("taskmanager", "a.jar").parent.glob("*")) == []
