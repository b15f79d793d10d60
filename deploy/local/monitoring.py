"""Prometheus with the project's rules, Alertmanager, the node exporter and the canary, beside a local stack."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deploy.local import prometheus
from deploy.local.home import CHECKOUT, Home
from deploy.local.ports import HOST
from deploy.local.server import Server, answers, command_server
from deploy.local.supervision import Program

RULES = CHECKOUT / "grafana" / "prometheus" / "rules"
ALERTMANAGER = CHECKOUT / "grafana" / "alertmanager" / "alertmanager.yml"
_SCRAPED = {
    "service": ("api",),
    "flink": ("jobmanager_metrics", "taskmanager_metrics"),
    "canary": ("canary_metrics",),
    "follower": ("follower_metrics",),
    "node": ("node_exporter",),
    "prometheus": ("prometheus",),
}
_SCRAPED_TOO = {"archive": ("archive_metrics", "archive_ratings_metrics"), "bridge": ("bridge_metrics",)}
"""Of parts that run only where they are asked for."""
_DURATION = re.compile(r"(?<![\w.])(\d+)([smhd])\b")
_MILLISECONDS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def sooner(rules: str, speed: int) -> str:
    """Return rules in which every length of time is `speed` times shorter, and nothing else is changed.

    That is for seeing an alert fire without waiting an hour for its window; thresholds stay as they are.
    """
    if speed == 1:
        return rules
    return _DURATION.sub(lambda found: f"{int(found[1]) * _MILLISECONDS[found[2]] // speed}ms", rules)


def prometheus_configuration(home: Home, ports: Mapping[str, int], parts: Collection[str], speed: int) -> str:
    """Return `prometheus.yml`: every process of the stack that gives metrics, by the names that the rules use."""
    wanted = {**_SCRAPED, **{job: ports_of for job, ports_of in _SCRAPED_TOO.items() if job in parts}}
    jobs = [
        {"job_name": job, "static_configs": [{"targets": [f"{HOST}:{ports[name]}" for name in names]}]}
        for job, names in wanted.items()
    ]
    seconds = 5 if speed == 1 else 1
    content: dict[str, Any] = {
        "global": {"scrape_interval": f"{seconds}s", "evaluation_interval": f"{seconds}s"},
        "rule_files": [str(_folder(home, "prometheus") / "rules" / "*.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{HOST}:{ports['alertmanager']}"]}]}]},
        "scrape_configs": jobs,
    }
    text = io.StringIO()
    YAML(typ="safe").dump(content, text)
    return text.getvalue()


def monitoring_servers(
    home: Home, ports: Mapping[str, int], parts: Collection[str], speed: int
) -> tuple[Server, Server, Server]:
    """Describe Prometheus, Alertmanager and the node exporter; they listen on this machine only."""
    rules = {file.name: sooner(file.read_text(encoding="utf-8"), speed) for file in sorted(RULES.glob("*.yml"))}
    return (
        _prometheus(home, ports["prometheus"], prometheus_configuration(home, ports, parts, speed), rules),
        _alertmanager(home, ports["alertmanager"]),
        _node_exporter(ports["node_exporter"]),
    )


def canary_server(home: Home, port: int, environment: Mapping[str, str]) -> Server:
    """Describe `reweigh canary` with its metrics on `port`; `environment` is what `stack.env` holds."""
    return command_server(home, "canary", ("canary",), ("CANARY", port), environment)


def _prometheus(home: Home, port: int, configuration: str, rules: Mapping[str, str]) -> Server:
    folder = _folder(home, "prometheus")

    def prepare() -> None:
        shutil.rmtree(folder / "rules", ignore_errors=True)
        (folder / "rules").mkdir(parents=True)
        (folder / "prometheus.yml").write_text(configuration, encoding="utf-8")
        for name, text in rules.items():
            (folder / "rules" / name).write_text(text, encoding="utf-8")

    return Server(
        program=Program(
            name="prometheus",
            argv=(
                str(prometheus.program("prometheus")),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=15d",
                f"--web.listen-address={HOST}:{port}",
                "--log.level=warn",
            ),
            env={"GOMAXPROCS": "1"},
            configuration="\n".join((configuration, *rules.values())),
        ),
        address=f"http://{HOST}:{port}",
        is_ready=lambda: answers(f"http://{HOST}:{port}/-/ready"),
        before_start=prepare,
    )


def _alertmanager(home: Home, port: int) -> Server:
    folder = _folder(home, "alertmanager")
    return Server(
        program=Program(
            name="alertmanager",
            argv=(
                *prometheus.alertmanager_command(),
                f"--config.file={ALERTMANAGER}",
                f"--storage.path={folder}",
                f"--web.listen-address={HOST}:{port}",
                "--cluster.listen-address=",
                "--log.level=warn",
            ),
            env={"GOMAXPROCS": "1"},
            configuration=ALERTMANAGER.read_text(encoding="utf-8"),
        ),
        address=f"http://{HOST}:{port}",
        is_ready=lambda: answers(f"http://{HOST}:{port}/-/ready"),
        before_start=lambda: folder.mkdir(parents=True, exist_ok=True),
    )


def _node_exporter(port: int) -> Server:
    collectors = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "stat")
    return Server(
        program=Program(
            name="node_exporter",
            argv=(
                str(prometheus.program("node_exporter")),
                f"--web.listen-address={HOST}:{port}",
                "--collector.disable-defaults",
                *(f"--collector.{name}" for name in collectors),
                "--log.level=warn",
            ),
        ),
        address=f"http://{HOST}:{port}/metrics",
        is_ready=lambda: answers(f"http://{HOST}:{port}/metrics"),
    )


def _folder(home: Home, name: str) -> Path:
    return home.path / name
