"""What the local stack gives Prometheus."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.local import prometheus
from deploy.local.home import Home
from deploy.local.monitoring import ALERTMANAGER, RULES, monitoring_servers, prometheus_configuration, sooner
from deploy.local.settings import PORTS

ROOT = Path(__file__).resolve().parents[2]
EVERY_PORT = {name: 20_000 + number for number, name in enumerate(PORTS)}
NUMBER = re.compile(r"\d+")


def read(text: str) -> Any:
    """Read YAML."""
    return YAML(typ="safe").load(text)


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    prometheus.provide(lambda _: None)


@pytest.mark.parametrize("file", sorted(RULES.glob("*.yml")), ids=lambda file: file.name)
def test_only_lengths_of_time_are_shortened(file: Path, tmp_path: Path) -> None:
    """Names, labels, thresholds and what a rule compares stay as they are; Prometheus takes the result."""
    before, after = file.read_text(encoding="utf-8"), sooner(file.read_text(encoding="utf-8"), 20)
    assert before != after
    for old, new in zip(read(before)["groups"], read(after)["groups"], strict=True):
        for rule, shortened in zip(old["rules"], new["rules"], strict=True):
            for key in ("record", "alert", "labels"):
                assert rule.get(key) == shortened.get(key)
            windows = re.findall(r"\[(\w+)\]|offset (\w+)", rule["expr"])
            rest = re.sub(r"\[\w+\]|offset \w+", "", rule["expr"])
            assert rest == re.sub(r"\[\w+\]|offset \w+", "", shortened["expr"])
            assert len(windows) == len(re.findall(r"\[\d+ms\]|offset \d+ms", shortened["expr"]))
    shorter = tmp_path / file.name
    shorter.write_text(after, encoding="utf-8")
    subprocess.run((str(prometheus.program("promtool")), "check", "rules", str(shorter)), check=True)
    assert sooner(before, 1) == before


def test_lengths_of_time_by_hand() -> None:
    """A few, as they come out."""
    text = "rate(a:ratio_rate5m[5m]) offset 1h > 14.4 * 0.001 and b[14d] # for: 30s"
    assert (
        sooner(text, 20)
        == "rate(a:ratio_rate5m[15000ms]) offset 180000ms > 14.4 * 0.001 and b[60480000ms] # for: 1500ms"
    )


def test_both_configurations_name_the_same_jobs(tmp_path: Path) -> None:
    """The rules use the names, so they are the same beside containers and in the local stack; both are well-formed."""
    local = prometheus_configuration(Home.at(tmp_path), EVERY_PORT, ("archive", "bridge"), 1)
    contained = (ROOT / "grafana" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    jobs = [{each["job_name"] for each in read(text)["scrape_configs"]} for text in (local, contained)]
    assert jobs[0] == jobs[1]
    asking = (*RULES.glob("*.yml"), *(ROOT / "grafana" / "dashboards").glob("*.json"))
    used = set(re.findall(r'job=\\?"(\w+)', "".join(file.read_text(encoding="utf-8") for file in asking)))
    assert used <= jobs[0]
    (tmp_path / "local.yml").write_text(local, encoding="utf-8")
    promtool = str(prometheus.program("promtool"))
    for file in (tmp_path / "local.yml", ROOT / "grafana" / "prometheus" / "prometheus.yml"):
        subprocess.run((promtool, "check", "config", "--syntax-only", str(file)), check=True)


def test_what_a_rule_looks_back_at_is_kept(tmp_path: Path) -> None:
    """Both here and beside containers, for longer than the longest window."""
    days = [
        int(each) for file in RULES.glob("*.yml") for each in re.findall(r"[\[ ](\d+)d\b\]?", file.read_text("utf-8"))
    ]
    server, _, _ = monitoring_servers(Home.at(tmp_path), EVERY_PORT, (), 1)
    beside_containers = read((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["prometheus"][
        "command"
    ]
    for arguments in (server.program.argv, beside_containers):
        (kept,) = re.findall(r"retention\.time=\D*(\d+)d", " ".join(arguments))
        assert int(kept) > max(days)


def test_alertmanager_takes_its_configuration() -> None:
    """By its own tool."""
    subprocess.run((str(prometheus.program("amtool")), "check-config", str(ALERTMANAGER)), check=True)
