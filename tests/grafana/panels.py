"""The dashboards, as tests read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "grafana" / "dashboards"


@dataclass(frozen=True)
class Query:
    """One expression of a panel or an annotation."""

    dashboard: str
    panel: str
    expr: str

    def at(self, interval: str) -> str:
        """Give it as Grafana sends it, ``interval`` in place of its variables."""
        return self.expr.replace("$__rate_interval", interval).replace("$__range", interval)


def dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard by its file's name."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))}


def queries() -> list[Query]:
    """Every expression of every panel."""
    return [
        Query(name, panel["title"], target["expr"])
        for name, dashboard in dashboards().items()
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]


def of_annotations() -> list[Query]:
    """Every expression of every annotation."""
    return [
        Query(name, each["name"], each["expr"])
        for name, dashboard in dashboards().items()
        for each in dashboard["annotations"]["list"]
    ]
