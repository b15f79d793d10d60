"""The alert rules: each fires when it should and only then, says what it must, and has its section in the runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.local import prometheus
from tests.grafana.alert_cases import CASES, Case

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "grafana" / "prometheus" / "rules").glob("*.yml"))
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
PARTS = ("Meaning", "Impact", "Diagnosis", "Mitigation")


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by its name."""
    groups = [group for file in RULES for group in YAML(typ="safe").load(file)["groups"]]
    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: rule for rule in rules}


def sections() -> dict[str, str]:
    """The sections of the runbook by their headings."""
    found = re.split(r"^## (\w+)$", RUNBOOK, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def commands(section: str) -> list[str]:
    """The lines of a section's shell blocks, each a command."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def promtool() -> str:
    """The real one."""
    prometheus.provide(lambda _: None)
    return str(prometheus.program("promtool"))


def _as_test(case: Case) -> dict[str, Any]:
    firing = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
    expected = [{"labels": "{}", "value": case.fires}] if case.fires else []
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{case.at}m", "exp_samples": expected}],
    }


def test_each_fires_when_it_should_and_only_then(promtool: str, tmp_path: Path) -> None:
    """By Prometheus' own tester; each alert has cases of both kinds."""
    assert {case.alert for case in CASES if case.fires} == set(alerts())
    assert {case.alert for case in CASES if not case.fires} == set(alerts())
    file = tmp_path / "cases.yml"
    content = {"rule_files": [str(each) for each in RULES], "evaluation_interval": "1m"}
    YAML(typ="safe").dump({**content, "tests": [_as_test(case) for case in CASES]}, file)
    done = subprocess.run(
        (promtool, "test", "rules", str(file)), capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_well_formed(promtool: str) -> None:
    """As Prometheus reads them."""
    done = subprocess.run((promtool, "check", "rules", *map(str, RULES)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_flink_is_that_of_reweigh() -> None:
    """Another Flink in the same Prometheus neither wakes anybody nor hides that this one is down."""
    assert (
        re.findall(r'flink_\w+(?!\w|\{job="flink")', "".join(file.read_text(encoding="utf-8") for file in RULES)) == []
    )


@pytest.mark.parametrize("name", alerts())
def test_each_says_what_whoever_is_woken_needs(name: str) -> None:
    """How bad it is, what it is, and where to read on."""
    rule = alerts()[name]
    assert rule["labels"]["severity"] in ("page", "ticket", "info")
    assert {"summary", "description", "runbook_url"} <= rule["annotations"].keys()
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_the_runbook_has_a_section_for_each_alert() -> None:
    """In full, and for no other."""
    assert set(sections()) == set(alerts())
    for name, section in sections().items():
        headings = re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE)
        assert tuple(headings) == PARTS, name
        assert commands(section), name


def test_the_commands_of_the_runbook_exist() -> None:
    """The programs are there, targets of make are in the Makefile, `reweigh` knows its subcommands."""
    from reweigh.cli import build_parser

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in {line for section in sections().values() for line in commands(section)}:
        program, *arguments = command.split()
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE), command
        elif program == "reweigh":
            build_parser().parse_args(arguments)
        else:
            assert shutil.which(program), command


def test_the_table_for_other_deployments_names_what_there_is() -> None:
    """Containers of docker-compose.yml, objects of the manifests, commands of `reweigh`."""
    from deploy.kubernetes.render import rendered_file
    from reweigh.cli import build_parser

    table = RUNBOOK.partition("## In another deployment")[2].partition("\n## ")[0]
    said = re.findall(r"`((?:docker|kubectl) [^`]+)`", table)
    containers = {found[1] for each in said if (found := re.search(r" (?:--tail 50|exec|--no-deps) (\w+)", each))}
    compose = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
    assert containers - {"deploy"} == {"service", "canary", "jobmanager", "taskmanager", "redis", "sweeper"}
    assert containers - {"deploy"} <= compose.keys()
    for command in (
        found[1] for each in said if (found := re.search(r"\breweigh ((?:doctor|weights|verify|train).*)", each))
    ):
        build_parser().parse_args(command.split())
    objects = list(YAML(typ="safe").load_all(rendered_file("production")))
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    kinds = {"deploy": "Deployment", "cronjob": "CronJob", "service": "Service", "flinkdeployment": "FlinkDeployment"}
    asked = {(kinds[kind], name) for kind, name in re.findall(rf"\b({'|'.join(kinds)})[/ ](reweigh-[\w-]+)", table)}
    # Those of the job are made by Flink, by the name of its FlinkDeployment.
    made = {("Deployment", "reweigh-profile"), ("Service", "reweigh-profile-rest")}
    assert ("FlinkDeployment", "reweigh-profile") in names
    assert asked - made <= names
    assert len(asked) == 8
