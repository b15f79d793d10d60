"""What ``render_pictures`` draws where there is nothing to draw, and nobody to ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.ports import free_port
from tests.grafana import render_pictures
from tests.grafana.panels import dashboards

TITLE = "Dead letters by reason"


def test_a_panel_without_lines_is_drawn_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """No dead letters are no error."""

    def nothing(*_: object) -> Iterator[render_pictures.Line]:
        yield from ()

    monkeypatch.setattr(render_pictures, "answered", nothing)
    panel = next(panel for panel in dashboards()["stream"]["panels"] if panel["title"] == TITLE)
    drawn = render_pictures.drawn("", panel, 0.0, 60.0)
    assert TITLE in drawn
    assert "nothing in this time" in drawn


def test_a_prometheus_that_is_not_there_is_named() -> None:
    """In one line, with where to look for its address."""
    panel = next(panel for panel in dashboards()["stream"]["panels"] if panel["title"] == TITLE)
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(SystemExit, match=f"no Prometheus answers at {url} .*make status"):
        render_pictures.drawn(url, panel, 0.0, 60.0)
