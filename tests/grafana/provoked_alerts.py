"""Three alerts provoked in a running stack, and seen firing in Prometheus and in Alertmanager: ``make alerts``.

The rules are those of production with every length of time a twentieth (``REWEIGH_ALERT_SPEED``). Not among the tests
that are found by themselves, since it takes some minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from deploy.local import Stack
from deploy.local.parts import DEFAULT_PARTS
from tests.waiting import wait_until

HOME = Path(__file__).resolve().parents[2] / ".local" / "test-alerts"
PATIENCE = 300.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The whole stack with Prometheus, Alertmanager and the canary, or a running one that is named."""
    if named := os.environ.get("ALERTS_HOME"):
        running = Stack(Path(named))
        yield Stack(Path(named), running.started_parts())
        return
    shutil.rmtree(HOME, ignore_errors=True)
    environment = {**os.environ, "REWEIGH_ALERT_SPEED": "20"}
    with Stack(HOME, (*DEFAULT_PARTS, "monitoring", "canary"), environment=environment) as started:
        yield started


def read(stack: Stack, server: str, path: str) -> Any:
    """Ask Prometheus or Alertmanager."""
    url = f"http://127.0.0.1:{stack.addresses.ports[server]}{path}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def firing(stack: Stack) -> set[str]:
    """Names of the alerts that Prometheus has firing."""
    alerts = read(stack, "prometheus", "/api/v1/alerts")["data"]["alerts"]
    return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}


def told(stack: Stack) -> set[str]:
    """Names of the alerts that Alertmanager has been told of."""
    return {each["labels"]["alertname"] for each in read(stack, "alertmanager", "/api/v2/alerts")}


def seen(stack: Stack, alert: str) -> None:
    """Wait until an alert fires in one and is known to the other."""
    wait_until(lambda: alert in firing(stack), PATIENCE, what=f"{alert} fires", pause=0.5)
    wait_until(lambda: alert in told(stack), PATIENCE, what=f"Alertmanager knows of {alert}", pause=0.5)


def quiet(stack: Stack, alert: str) -> None:
    """Wait until an alert does not fire."""
    wait_until(lambda: alert not in firing(stack), PATIENCE, what=f"{alert} is over", pause=0.5)


def test_bad_weights(stack: Stack) -> None:
    """A flood of documents that are not valid; it is over when they stop."""
    client = KazooClient(stack.addresses.zookeeper)
    client.start(timeout=30)
    before, _ = client.get("/config/recommendation/weights")
    quiet(stack, "WeightsRejected")
    try:
        for number in range(50):
            client.set("/config/recommendation/weights", b'{"view": -%d}' % (number + 1))
        seen(stack, "WeightsRejected")
    finally:
        client.set("/config/recommendation/weights", before)
        client.stop()
        client.close()
    quiet(stack, "WeightsRejected")


@pytest.mark.parametrize(
    ("server", "alert"),
    [
        # Answers are degraded, since the canary asks for them all the time.
        ("redis", "AnswersDegraded"),
        # No event is acknowledged, so none is in an answer.
        ("kafka", "FreshnessBurnsFast"),
    ],
)
def test_a_server_is_paused(stack: Stack, server: str, alert: str) -> None:
    """It is over when the server goes on."""
    quiet(stack, alert)
    stack.kill(server, signal.SIGSTOP)
    try:
        seen(stack, alert)
    finally:
        stack.kill(server, signal.SIGCONT)
    quiet(stack, alert)
