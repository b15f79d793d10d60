"""The images' descriptions agree with the code, the lock files and the local stack."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser
from ruamel.yaml import YAML

from deploy.local import flink, jars
from deploy.local.flink_distribution import flink_home
from deploy.local.home import Home
from deploy.local.java import java_home
from deploy.local.job import PACKAGES
from deploy.local.settings import PORTS, Sizes

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "deploy" / "images"
NAMES = ("service", "job")
OF_A_CONTAINER = {
    "blob.server.port",
    "execution.checkpointing.dir",
    "execution.checkpointing.savepoint-dir",
    "io.tmp.dirs",
    "jobmanager.bind-host",
    "jobmanager.rpc.port",
    "metrics.reporter.prom.port",
    "python.client.executable",
    "python.executable",
    "rest.bind-address",
    "rest.port",
    "taskmanager.bind-host",
}


def steps(name: str) -> list[tuple[str, str]]:
    """Instruction and value, in order."""
    parser = DockerfileParser(fileobj=BytesIO((IMAGES / name / "Dockerfile").read_bytes()))
    return [(each["instruction"], each["value"]) for each in parser.structure if each["instruction"] != "COMMENT"]


def last_stage(name: str) -> dict[str, list[str]]:
    """The values of each instruction of the stage that becomes the image."""
    found: dict[str, list[str]] = {}
    for instruction, value in steps(name):
        found = {} if instruction == "FROM" else found
        found.setdefault(instruction, []).append(value)
    return found


def versions() -> dict[str, str]:
    """Version by package of requirements.lock."""
    return dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())


@pytest.mark.parametrize("name", NAMES)
def test_the_linter_finds_nothing(name: str) -> None:
    """What it is told to leave alone is named, with the reason, where it stands."""
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, IMAGES / name / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_copied_exists_and_is_in_the_context(name: str) -> None:
    """Each source is a file or folder of this repository that .dockerignore lets through."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources: list[str] = []
    for instruction, value in steps(name):
        if instruction == "COPY" and "--from" not in value:
            sources += [word for word in value.split()[:-1] if not word.startswith("--")]
    assert sources
    assert [each for each in sources if not (ROOT / each).exists() or each.split("/")[0] not in allowed] == []


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_pinned_small_unprivileged_and_watched(name: str) -> None:
    """A dated base image in each stage, tools of the build left behind, a user with a number, a health check."""
    bases = [value.split()[0] for instruction, value in steps(name) if instruction == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"debian:bookworm-\d{8}-slim", bases[0])
    image = last_stage(name)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image["USER"][-1])
    assert len(image["HEALTHCHECK"]) == 1
    assert image["STOPSIGNAL"] == ["SIGTERM"]
    assert not [run for run in image["RUN"] if re.search(r"\b(gcc|pip|venv|curl|git)\b", run)]


def test_the_healthcheck_judges(tmp_path: Path) -> None:
    """By a file's age and by a port's answer; wrong arguments are told apart from ill health."""

    def code(*arguments: str) -> int:
        return subprocess.run(
            [sys.executable, IMAGES / "healthcheck.py", *arguments], capture_output=True, check=False
        ).returncode

    file = tmp_path / "alive"
    assert code(str(file), "60") == 1
    file.touch()
    assert code(str(file), "60") == 0
    assert code("http://127.0.0.1:1/livez") == 1
    assert code() == code(str(file)) == code("ftp://example.com") == 2


def test_the_job_image_holds_what_the_job_is_made_of() -> None:
    """The packages that `flink run` ships, the connector of jars.lock, and the version of Flink that is locked."""
    text = (IMAGES / "job" / "Dockerfile").read_text()
    assert tuple(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE)) == PACKAGES
    assert [jar for jar in jars.read_lock() if jar.set_name == "flink-kafka"]
    assert "grep '^flink-kafka ' deploy/local/jars.lock" in text
    assert set(re.findall(r"flink-python-([\d.]+)\.jar", text)) == {versions()["apache-flink"]}
    assert (flink_home() / "opt" / f"flink-python-{versions()['apache-flink']}.jar").exists()


def test_every_module_that_a_container_runs_is_in_its_image() -> None:
    """The service image copies every package that the console script and the service import."""
    copied = set(re.findall(r"^COPY (\w+) \1$", (IMAGES / "service" / "Dockerfile").read_text(), re.MULTILINE))
    assert copied == {"reccore", "redisaccess", "zkconfig", "recsvc", "reweigh"}


def test_files_beside_the_code_are_packaged() -> None:
    """What is read from beside a module, the build puts into the wheel."""
    text = (ROOT / "pyproject.toml").read_text()
    suffixes = {file.suffix for package in (*PACKAGES, "recsvc", "reweigh") for file in (ROOT / package).rglob("*.*")}
    assert suffixes - {".py", ".pyc"} == {".lua", ".html", ".css", ".js", ".svg"}
    assert '"*" = ["*.lua"' in text
    assert 'recsvc = ["ops/static/*"]' in text


def test_flink_in_a_container_is_set_as_in_the_local_stack(tmp_path: Path) -> None:
    """Each option has the local stack's value, but for addresses, folders, and the sizes of one machine's parts."""
    container = options(IMAGES / "job" / "conf" / "config.yaml")
    shipped = YAML(typ="safe").load(flink_home() / "conf" / "config.yaml")
    local = flink.configuration(shipped, Home.at(tmp_path), dict.fromkeys(PORTS, 0), Sizes())
    assert {key: value for key, value in container.items() if key not in OF_A_CONTAINER} == {
        key: local[key] for key in container if key not in OF_A_CONTAINER
    }


def test_flink_in_a_container_logs_an_object_a_line(tmp_path: Path) -> None:
    """Flink's own libraries can do it: here a TaskManager that finds nothing configured, with its exception."""
    (tmp_path / "config.yaml").touch()
    command = (
        str(java_home() / "bin" / "java"), "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp", f"{flink_home() / 'lib'}/*",
        f"-Dlog4j.configurationFile={(IMAGES / 'job' / 'conf' / 'log4j-console.properties').as_uri()}",
        "org.apache.flink.runtime.taskexecutor.TaskManagerRunner", "--configDir", str(tmp_path),
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events
    assert all({"@timestamp", "log.level", "log.logger", "message"} <= each.keys() for each in events)
    traces = [each["error.stack_trace"] for each in events if "error.stack_trace" in each]
    assert traces
    assert all(trace.count("\n") > 1 for trace in traces)


def options(file: Path) -> dict[str, str]:
    """A flat YAML file of options as Flink reads it."""
    found: dict[str, Any] = YAML(typ="safe").load(file)
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in found.items()}
