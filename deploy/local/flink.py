"""A Flink session cluster from the apache-flink package: one JobManager, one TaskManager."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deploy.local.flink_distribution import flink_home
from deploy.local.flink_java import script_environment, server_command
from deploy.local.home import Home
from deploy.local.java import LITTLE_TO_DO, java_home
from deploy.local.logging_files import console_logging
from deploy.local.ports import HOST
from deploy.local.server import Server, get_json
from deploy.local.settings import Sizes
from deploy.local.supervision import Program, Supervisor


def checkpoints_folder(home: Home) -> Path:
    """Return where checkpoints are kept, also after the job or the cluster ended."""
    return home.flink / "checkpoints"


def savepoints_folder(home: Home) -> Path:
    """Return where savepoints go unless told otherwise."""
    return home.flink / "savepoints"


def client_folder(home: Home) -> Path:
    """Return where `flink run` keeps its temporary files, which it doesn't remove."""
    return home.flink / "client"


def configuration(shipped: Mapping[str, Any], home: Home, ports: Mapping[str, int], sizes: Sizes) -> dict[str, str]:
    """Return Flink's options: those shipped (among them what Java 17 needs) and ours over them."""
    return {
        **_flat(shipped),
        "jobmanager.bind-host": HOST,
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": str(ports["flink_rpc"]),
        "jobmanager.memory.process.size": f"{sizes.jobmanager_memory}m",
        "taskmanager.bind-host": HOST,
        "taskmanager.host": HOST,
        "taskmanager.memory.process.size": f"{sizes.taskmanager_memory}m",
        "taskmanager.numberOfTaskSlots": str(sizes.slots),
        # A restarted TaskManager takes the place of the dead one at once, and empties its folder.
        "taskmanager.resource-id": "local",
        "process.working-dir": str(home.flink / "work"),
        "env.java.opts.client": f"{' '.join(LITTLE_TO_DO)} -Djava.io.tmpdir={client_folder(home)}",
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": str(ports["flink"]),
        "parallelism.default": str(sizes.parallelism),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "state.backend.type": "rocksdb",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.interval": f"{sizes.checkpoint_interval_ms}ms",
        "execution.checkpointing.dir": checkpoints_folder(home).as_uri(),
        "execution.checkpointing.savepoint-dir": savepoints_folder(home).as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "2",
        "execution.checkpointing.tolerable-failed-checkpoints": "10",
        # Without a limit to the attempts, which is the default of this strategy.
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "500ms",
        "restart-strategy.exponential-delay.max-backoff": "15s",
        "restart-strategy.exponential-delay.backoff-multiplier": "1.5",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "2min",
        # A TaskManager that died is noticed within seconds.
        "heartbeat.interval": "1s",
        "heartbeat.timeout": "8s",
        # Servers that start side by side, or one after the other's restart, find each other within a second.
        "cluster.registration.error-delay": "1s",
        "cluster.registration.refused-registration-delay": "2s",
        "cluster.registration.max-timeout": "2s",
        "metrics.reporters": "prom",
        "metrics.reporter.prom.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
    }


def write_configuration(home: Home, ports: Mapping[str, int], sizes: Sizes) -> dict[str, str]:
    """Write the configuration folder that `FLINK_CONF_DIR` names, and return the options."""
    folder = home.flink / "conf"
    for needed in (
        folder,
        checkpoints_folder(home),
        savepoints_folder(home),
        home.flink / "pid",
        client_folder(home),
    ):
        needed.mkdir(parents=True, exist_ok=True)
    shipped = flink_home() / "conf"
    options = configuration(YAML(typ="safe").load(shipped / "config.yaml"), home, ports, sizes)
    lines = (f"{key}: {json.dumps(value)}\n" for key, value in sorted(options.items()))
    (folder / "config.yaml").write_text("".join(lines))
    (folder / "log4j-console.properties").write_text(console_logging())
    shutil.copy(shipped / "log4j-cli.properties", folder)
    return options


def environment(home: Home) -> dict[str, str]:
    """Return what Flink's scripts need to know, servers and `flink run` alike."""
    return {
        "JAVA_HOME": str(java_home()),
        "FLINK_HOME": str(flink_home()),
        "FLINK_CONF_DIR": str(home.flink / "conf"),
        "FLINK_LOG_DIR": str(home.log),
        "FLINK_PID_DIR": str(home.flink / "pid"),
        "FLINK_IDENT_STRING": "reweigh",
    }


def temporary_folder(home: Home, name: str) -> Path:
    """Return where a server keeps what it needs only while it runs: unpacked jars, code, files of downloads."""
    return home.flink / "tmp" / name


def servers(home: Home, ports: Mapping[str, int], sizes: Sizes) -> tuple[Server, Server]:
    """Describe JobManager and TaskManager, whose configuration is written."""
    rest = f"http://{HOST}:{ports['flink']}"
    options = write_configuration(home, ports, sizes)

    def program(name: str) -> Program:
        return Program(
            name=name,
            argv=(
                *server_command(home, name, options, ports[f"{name}_metrics"]),
                *("-D", f"io.tmp.dirs={temporary_folder(home, name)}"),
            ),
            scratch=temporary_folder(home, name),
            env={**environment(home), **script_environment()},
            configuration=json.dumps(options, sort_keys=True),
        )

    job_manager = Server(
        program=program("jobmanager"),
        address=rest,
        is_ready=lambda: get_json(f"{rest}/overview") is not None,
    )
    task_manager = Server(
        program=program("taskmanager"),
        address=f"{sizes.slots} slots, metrics {HOST}:{ports['taskmanager_metrics']}",
        is_ready=lambda: _task_manager_registered(home, rest, sizes.slots),
    )
    return job_manager, task_manager


def _task_manager_registered(home: Home, rest: str, slots: int) -> bool:
    """Return whether the JobManager has heard from the TaskManager that runs now, not from the one before it."""
    state = Supervisor(home).states().get("taskmanager")
    if state is None or not state.pid:
        return False
    known = get_json(f"{rest}/taskmanagers") or {"taskmanagers": []}
    return any(
        item["slotsNumber"] == slots
        and item.get("path", "").startswith("pekko")
        and _hosts(rest, item["id"], state.pid)
        for item in known["taskmanagers"]
    )


def _hosts(rest: str, identity: str, pid: int) -> bool:
    import psutil

    details = get_json(f"{rest}/taskmanagers/{identity}")
    if details is None:
        return False
    try:
        ports = {c.laddr.port for c in psutil.Process(pid).net_connections() if c.status == psutil.CONN_LISTEN}
    except psutil.Error:
        return False
    return details["dataPort"] in ports


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat
