"""Every panel, asked of a real Prometheus that scrapes the real stack under load; the runbook's commands, run there."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from deploy.local import Stack
from deploy.local.parts import DEFAULT_PARTS
from tests.grafana.panels import of_annotations, queries
from tests.grafana.test_alerts import commands, sections
from tests.waiting import wait_until

HOME = Path(__file__).resolve().parents[2] / ".local" / "test-grafana"
PARTS = (*DEFAULT_PARTS, "archive", "monitoring", "canary")
SETTINGS = {"REWEIGH_ALERT_SPEED": "20", "ARCHIVE_FLUSH_SECONDS": "1"}
TYPES = ("view", "view", "view", "add_to_cart", "purchase")
TOPICS = {"view": "view-events", "add_to_cart": "add-to-cart-events", "purchase": "purchase-events"}
PATIENCE = 180.0
pytestmark = pytest.mark.timeout(1_200)  # the first test waits for the whole stack, a training and a verification


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """All of it, with windows a twentieth and a scrape each second."""
    shutil.rmtree(HOME, ignore_errors=True)
    with Stack(HOME, PARTS, environment={**os.environ, **SETTINGS}) as started:
        yield started


class Load(threading.Thread):
    """Shoppers, until the end: events good and bad by Kafka and HTTP, questions, ratings, and weights that change."""

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(name="load")
        self.env, self.ending, self.turns = env, threading.Event(), 0

    def run(self) -> None:
        """Go on until told to end."""
        draw = random.Random(1)
        with Producer({"bootstrap.servers": self.env["KAFKA_BOOTSTRAP"]}) as producer:
            while not self.ending.is_set():
                self.turns += 1
                for number in range(20):
                    user, kind = f"u{draw.randrange(60)}", draw.choice(TYPES)
                    event = {
                        "event_id": f"{self.turns}-{number % 19}",
                        "user_id": user,
                        "product_id": f"p{draw.randrange(30)}",
                        "timestamp": int(time.time() * 1000),
                    }
                    if number % 3:
                        event["tags"] = draw.sample(["a", "b", "c", "d"], 2)
                    value = json.dumps(event) if number % 10 else "no event"
                    producer.produce(TOPICS[kind], value.encode(), user.encode())
                producer.flush(5)
                with suppress(OSError):  # one that fails is a measurement, too
                    self.ask(f"/recommend/u{draw.randrange(90)}")
                    self.ask("/update", {"user_id": "u1", "product_id": "p1", "event_type": "view"})
                    self.ask("/send_rating", {"userId": "u1", "movieId": "p1", "rating": draw.choice((3, 4.5))})
                    if self.turns % 20 == 1:
                        key = {"X-API-Key": self.env["CONFIG_API_KEY"]}
                        weights = {"view": 1, "add_to_cart": 3, "purchase": 5 + self.turns}
                        self.ask("/api/config/weights", weights, key, "PUT")
                self.ending.wait(0.1)

    def ask(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None, method: str | None = None
    ) -> None:
        """Make one request."""
        data = None if body is None else json.dumps(body).encode()
        head = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.env["API_URL"] + path, data, head, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()


@pytest.fixture(scope="module")
def loaded(stack: Stack) -> Iterator[Stack]:
    """The stack under load, with a model that was trained and a verification that was made."""
    load = Load(stack.env)
    load.start()
    try:
        wait_until(lambda: load.turns > 30, PATIENCE)
        for command in (("train",), ("verify",)):
            done = reweigh(stack, *command)
            assert done.returncode == 0, done.stdout + done.stderr
        yield stack
    finally:
        load.ending.set()
        load.join(30)


def reweigh(stack: Stack, *command: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        (sys.executable, "-m", "reweigh.cli", *command, "--env", str(stack.home.stack_env)),
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def asked(stack: Stack, expression: str) -> list[Any]:
    """What Prometheus answers; NaN is nothing."""
    port = stack.addresses.ports["prometheus"]
    body = urllib.parse.urlencode({"query": expression}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query", body, timeout=30) as answer:
        found = json.load(answer)["data"]["result"]
    return [each for each in found if each["value"][1] != "NaN"]


def test_every_process_is_scraped(loaded: Stack) -> None:
    """None is down."""
    jobs = {"service", "flink", "canary", "follower", "archive", "node", "prometheus"}
    wait_until(lambda: {each["metric"]["job"] for each in asked(loaded, "up == 1")} == jobs, PATIENCE)
    wait_until(lambda: asked(loaded, "up == 0") == [], PATIENCE)


def test_every_panel_shows_something(loaded: Stack) -> None:
    """And so does what marks a change of the weights."""
    empty = [*queries(), *of_annotations()]

    def none_is_empty() -> bool:
        empty[:] = [query for query in empty if not asked(loaded, query.at("2m"))]
        return not empty

    with suppress(AssertionError):
        wait_until(none_is_empty, PATIENCE, pause=1.0)
    assert [f"{query.dashboard}: {query.panel}: {query.at('2m')}" for query in empty] == []


def test_every_objective_is_measured(loaded: Stack) -> None:
    """The rules that the alerts compare give numbers."""
    names = ("request_errors", "slow_recommendations", "late_events")
    windows = ("5m", "30m", "1h", "6h")
    wanted = {f"reweigh:{name}:ratio_rate{window}" for name in names for window in windows}
    wait_until(lambda: all(asked(loaded, name) for name in wanted), PATIENCE, pause=1.0)


def test_the_commands_of_the_runbook_work(loaded: Stack, tmp_path: Path) -> None:
    """As they are printed, from a folder that has the stack as ``.local``.

    What looks at the checkout's own stack is told of this one.
    """
    (tmp_path / ".local").symlink_to(loaded.home.path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **loaded.env, "PATH": path}
    lines = {line for section in sections().values() for line in commands(section)}
    for line in sorted(each for each in lines if not each.startswith("make")):
        where = f" --home {loaded.home.path}" if line.startswith("reweigh job") else ""
        done = subprocess.run(
            ("bash", "-c", line + where),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
