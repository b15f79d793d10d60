"""Draws some panels from what a Prometheus answers, as SVG: ``python -m tests.grafana.render_pictures PROMETHEUS_URL``.

They are not Grafana's pictures, which has no part in the tests; they show what a panel's query gives, over the last
``--minutes`` before ``--until`` (epoch s; default: now).
"""

from __future__ import annotations

import argparse
import json
import math
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from tests.grafana.panels import ROOT, dashboards

PICTURES = {
    "service": ("Requests", "p95 by route", "Fallbacks by reason"),
    "stream": ("Events by action", "Dead letters by reason", "Age of the newest checkpoint"),
    "freshness": (
        "From an event to an answer that holds it",
        "Events in an answer within 2 s",
        "From an event to Redis",
    ),
}
COLOURS = ("#3274d9", "#e02f44", "#56a64b", "#ff780a", "#8f3bb8", "#b08900", "#0f9d9d", "#7f7f7f")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 380, 230, 52, 34, 56
Line = tuple[str, list[tuple[float, float]]]


def main() -> None:
    """Write a picture for each dashboard that is named above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--minutes", type=int, default=15)
    parser.add_argument("--until", type=float, default=time.time())
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, titles in PICTURES.items():
        panels = {panel["title"]: panel for panel in dashboards()[name]["panels"]}
        begin = options.until - 60 * options.minutes
        parts = [
            f'<g transform="translate({WIDTH * place},0)">{drawn(options.url, panels[title], begin, options.until)}</g>'
            for place, title in enumerate(titles)
        ]
        size = f'width="{WIDTH * len(parts)}" height="{HEIGHT}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11" fill="#222">'
        paper = f'<rect {size} fill="#fff"/>'
        (options.out / f"{name}.svg").write_text(f"{head}{paper}{''.join(parts)}</svg>\n", encoding="utf-8")


def answered(url: str, panel: dict[str, Any], begin: float, end: float) -> Iterator[Line]:
    """Give the lines of a panel."""
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "1m")
        query = urllib.parse.urlencode({"query": expression, "start": begin, "end": end, "step": (end - begin) / 120})
        try:
            with urllib.request.urlopen(f"{url}/api/v1/query_range?{query}", timeout=30) as answer:
                found = json.load(answer)["data"]["result"]
        except (OSError, ValueError) as exc:
            raise SystemExit(f"no Prometheus answers at {url} (`make status` shows its address): {exc}") from exc
        for series in found:
            label = target["legendFormat"]
            for key, value in series["metric"].items():
                label = label.replace("{{" + key + "}}", value)
            points = [(float(at), float(value)) for at, value in series["values"]]
            points = [(at, value) for at, value in points if math.isfinite(value)]
            if points:
                yield label, points


def drawn(url: str, panel: dict[str, Any], begin: float, end: float) -> str:
    """Draw a panel: axes, lines, and a legend of the lines that reach highest."""
    lines = sorted(answered(url, panel, begin, end), key=lambda line: -max(value for _, value in line[1]))
    lines = lines[: len(COLOURS)]
    highest = max((value for _, points in lines for _, value in points), default=0) or 1.0
    wide, high = WIDTH - LEFT - 14, HEIGHT - TOP - BOTTOM
    unit = panel["fieldConfig"]["defaults"]["unit"]

    def place(at: float, value: float) -> str:
        return f"{LEFT + wide * (at - begin) / (end - begin):.1f},{TOP + high * (1 - value / highest):.1f}"

    marks = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(panel["title"])}</text>']
    for part in (0, 0.5, 1):
        y = TOP + high * (1 - part)
        marks.append(f'<line x1="{LEFT}" x2="{LEFT + wide}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        marks.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{shown(highest * part, unit)}</text>')
    if not lines:  # such as dead letters where there were none
        marks.append(f'<text x="{LEFT}" y="{TOP + high + 26}" font-size="10" fill="#777">nothing in this time</text>')
    minutes = f"{(end - begin) / 60:.0f} min"
    marks.append(f'<text x="{LEFT + wide}" y="{TOP + high + 14}" text-anchor="end" fill="#777">{minutes}</text>')
    for number, (label, points) in enumerate(lines):
        path = " ".join(place(*point) for point in points)
        marks.append(f'<polyline fill="none" stroke="{COLOURS[number]}" stroke-width="1.4" points="{path}"/>')
        x, y = LEFT + 165 * (number % 2) - 40 * (number % 2 == 0), TOP + high + 26 + 11 * (number // 2)
        if number < 6:
            marks.append(f'<text x="{x}" y="{y}" fill="{COLOURS[number]}" font-size="10">{escape(label[:26])}</text>')
    return "".join(marks)


def shown(value: float, unit: str) -> str:
    """Write a value in a unit of Grafana."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
    return f"{value:.3g}{'/s' if unit in ('cps', 'reqps') else ''}"


if __name__ == "__main__":
    main()
