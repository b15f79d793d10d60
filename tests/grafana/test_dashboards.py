"""The rules of the dashboard linter, and that panels ask for metrics that there are."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.local import prometheus
from recsvc.metrics import METRICS
from recsvc.stored_metrics import STORED_METRICS
from reweigh.archive.metrics import METRICS as ARCHIVE_METRICS
from reweigh.canary.metrics import METRICS as CANARY_METRICS
from reweigh.follow.metrics import METRICS as FOLLOW_METRICS
from reweigh.rabbitmq.metrics import METRICS as BRIDGE_METRICS
from tests.grafana.panels import ROOT, Query, dashboards, of_annotations, queries

DASHBOARDS = dashboards()
OURS = (*METRICS, *STORED_METRICS, *ARCHIVE_METRICS, *BRIDGE_METRICS, *CANARY_METRICS, *FOLLOW_METRICS)
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
NAME = re.compile(r"\b(?:reweigh|http|event_to|messages|follow|processor|flink|node)_\w+|\bup\b")


def label(query: Query) -> str:
    """Name a query in a report."""
    return f"{query.dashboard}: {query.panel}"


@pytest.fixture(scope="module")
def promtool() -> str:
    """The real one."""
    prometheus.provide(lambda _: None)
    return str(prometheus.program("promtool"))


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_dashboard(dashboard: dict[str, Any]) -> None:
    """Its data source is a variable, it can't be changed by hand, and weights changes are marked in it."""
    (variable,) = dashboard["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    assert dashboard["editable"] is False
    assert [each["name"] for each in dashboard["annotations"]["list"]] == ["Weights changes"]
    assert dashboard["annotations"]["list"][0]["datasource"] == SOURCE
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(places) == len(set(places))


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_the_panels_of_a_dashboard(dashboard: dict[str, Any]) -> None:
    """Each says what it shows, in which unit, from the variable's source, and asks something."""
    for panel in dashboard["panels"]:
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == SOURCE, panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == SOURCE, panel["title"]
            assert target["legendFormat"], panel["title"]


def test_titles_are_different() -> None:
    """A panel is found by its title."""
    for name, dashboard in DASHBOARDS.items():
        titles = [panel["title"] for panel in dashboard["panels"]]
        assert len(titles) == len(set(titles)), name
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)


@pytest.mark.parametrize("query", queries(), ids=label)
def test_rates_are_over_the_interval_that_fits(query: Query) -> None:
    """``rate`` over ``$__rate_interval``, whatever the zoom; no counter is shown as such."""
    plain = re.sub(r'"[^"]*"', "", query.expr)
    for function, window in re.findall(r"\b(rate|irate|increase)\(.*?\[([^\]]+)\]", plain):
        assert function != "irate"
        assert window == "$__rate_interval" if function == "rate" else window in ("$__range", "1h")
    counters = {each.name for each in OURS if each.kind == "counter"}
    for name in NAME.findall(query.expr):
        if name in counters or name.endswith(("_bucket", "_count", "_sum")):
            assert re.search(rf"\b(rate|increase)\({re.escape(name)}\b", query.expr), name


@pytest.mark.parametrize("query", queries(), ids=label)
def test_panels_ask_for_metrics_that_there_are(query: Query) -> None:
    """Those of this project are in its tables, those of Flink on the page of metrics or Flink's own."""
    known = {each.name for each in OURS}
    names = [name for name in NAME.findall(query.expr) if not name.startswith(("flink_", "node_")) and name != "up"]
    for name in names:
        assert name in known or re.sub(r"_(bucket|count|sum)$", "", name) in known, name


@pytest.mark.parametrize("query", queries(), ids=label)
def test_flink_is_that_of_reweigh(query: Query) -> None:
    """Its metrics have the names of any Flink's, and a Prometheus may scrape several: the job tells them apart."""
    assert re.findall(r'flink_\w+(?!\w|\{job="flink")', query.expr) == []


def test_the_panel_of_failures_shows_what_the_objective_is_measured_by() -> None:
    """The same requests above and below the line, so that it and the alerts agree."""
    (panel,) = (
        query for query in queries() if (query.dashboard, query.panel) == ("service", "Part of requests that fail")
    )
    rules = YAML(typ="safe").load(ROOT / "grafana" / "prometheus" / "rules" / "objectives.yml")["groups"][0]["rules"]
    (rule,) = (each["expr"] for each in rules if each["record"] == "reweigh:request_errors:ratio_rate5m")
    assert re.sub(r"\s", "", panel.at("5m")) == re.sub(r"\s", "", rule)


def test_everything_parses(promtool: str, tmp_path: Path) -> None:
    """By Prometheus' own parser, as expressions of rules."""
    rules = [
        {"record": f"panel:{number}", "expr": query.at("1m")}
        for number, query in enumerate([*queries(), *of_annotations()])
    ]
    file = tmp_path / "panels.yml"
    YAML(typ="safe").dump({"groups": [{"name": "panels", "rules": rules}]}, file)
    done = subprocess.run((promtool, "check", "rules", str(file)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_the_data_source_is_the_one_that_the_variable_finds() -> None:
    """Of the type that every dashboard asks for; and dashboards are read from where they are mounted."""
    folder = ROOT / "grafana" / "provisioning"
    (source,) = YAML(typ="safe").load(folder / "datasources" / "prometheus.yml")["datasources"]
    assert (source["type"], source["isDefault"], source["url"]) == ("prometheus", True, "${PROMETHEUS_URL}")
    (provider,) = YAML(typ="safe").load(folder / "dashboards" / "reweigh.yml")["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
