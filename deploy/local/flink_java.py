"""The Java command of a Flink server, as Flink's own scripts build it, but built once instead of at every restart.

`jobmanager.sh` and `taskmanager.sh` start two helper JVMs before the server itself. A supervisor that restarts a
server in the middle of a load would pay for them each time, so their answer is kept in the home folder.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.local import jars
from deploy.local.class_archive import options_argument
from deploy.local.errors import StackError
from deploy.local.flink_distribution import flink_home
from deploy.local.home import Home
from deploy.local.java import LITTLE_TO_DO, java_home, java_version

_MAIN_CLASS = {
    "jobmanager": "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
    "taskmanager": "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
}
_JIT_AND_COLLECTOR = {
    "jobmanager": LITTLE_TO_DO,
    "taskmanager": ("-XX:+UseG1GC",),
}
_QUESTION = {"jobmanager": "GET_JM_RESOURCE_PARAMS", "taskmanager": "GET_TM_RESOURCE_PARAMS"}
_ANSWER = "BASH_JAVA_UTILS_EXEC_RESULT:"
_SECURITY_MANAGER_GONE = 18


def server_command(home: Home, name: str, options: Mapping[str, str], metrics_port: int) -> tuple[str, ...]:
    """Return the command that runs `jobmanager` or `taskmanager` in the foreground.

    Args:
        home: Its `flink/conf` holds the configuration, written already.
        name: Which of the two.
        options: The same configuration as a mapping.
        metrics_port: Where its Prometheus reporter listens.

    Raises:
        StackError: The memory sizes do not fit together.
    """
    java = java_home() / "bin" / "java"
    configuration = home.flink / "conf"
    jvm_options, memory_options = _memory(home, name, options)
    classes = class_path(flink_home())
    return (
        str(java),
        options_argument(home, name, classes),
        *_JIT_AND_COLLECTOR[name],
        *shlex.split(jvm_options),
        "-XX:+IgnoreUnrecognizedVMOptions",
        *shlex.split(options.get("env.java.opts.all", "")),
        *(("-Djava.security.manager=allow",) if (java_version(java) or 0) >= _SECURITY_MANAGER_GONE else ()),
        f"-Dlog4j.configurationFile={(configuration / 'log4j-console.properties').as_uri()}",
        "-classpath",
        classes,
        _MAIN_CLASS[name],
        "--configDir",
        str(configuration),
        *shlex.split(memory_options),
        "-D",
        f"metrics.reporter.prom.port={metrics_port}",
    )


def class_path(flink: Path) -> str:
    """Return the class path of the servers: what lies in Flink's `lib`, its own jar last, and what every job needs.

    PyFlink's jar and Kafka's connector come with each submitted job too, and would be loaded anew for each: tens of MiB
    that the JVM never gives back, so that a TaskManager died of its fifth job. What the server's own class path holds
    is loaded once.
    """
    library = sorted(flink.glob("lib/*.jar"), key=lambda jar: (jar.name.startswith("flink-dist"), jar.name))
    of_jobs = (*flink.glob("opt/flink-python-*.jar"), *jars.jar_paths("flink-kafka"))
    return ":".join(map(str, (*of_jobs, *library)))


def script_environment() -> dict[str, str]:
    """Return what `config.sh` exports to the servers."""
    home = flink_home()
    folders = {"FLINK_LIB_DIR": "lib", "FLINK_OPT_DIR": "opt", "FLINK_PLUGINS_DIR": "plugins", "FLINK_BIN_DIR": "bin"}
    return {key: str(home / folder) for key, folder in folders.items()}


def _memory(home: Home, name: str, options: Mapping[str, str]) -> tuple[str, str]:
    """Return the JVM's options and the server's own, worked out by Flink from the configured sizes."""
    given = {"flink": str(flink_home()), "options": dict(options)}
    digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()
    kept = home.flink / f"{name}-memory.json"
    if kept.exists():
        known = json.loads(kept.read_text())
        if known["digest"] == digest:
            return known["jvm"], known["server"]
    jvm, server = _ask_flink(home, name)
    kept.write_text(json.dumps({"digest": digest, "jvm": jvm, "server": server}) + "\n")
    return jvm, server


def _ask_flink(home: Home, name: str) -> tuple[str, str]:
    utilities = (flink_home() / "bin" / "bash-java-utils.jar", *(flink_home() / "lib").glob("flink-dist*.jar"))
    done = subprocess.run(
        (
            str(java_home() / "bin" / "java"),
            *LITTLE_TO_DO,
            "-classpath",
            ":".join(map(str, utilities)),
            "org.apache.flink.runtime.util.bash.BashJavaUtils",
            _QUESTION[name],
            "--configDir",
            str(home.flink / "conf"),
        ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    answers = [line.removeprefix(_ANSWER) for line in done.stdout.splitlines() if line.startswith(_ANSWER)]
    if done.returncode != 0 or len(answers) != 2:
        raise StackError(f"Flink refuses the memory sizes of the {name}:\n{(done.stdout + done.stderr)[-1500:]}")
    return answers[0], answers[1]
