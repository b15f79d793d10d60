"""`reweigh load` killed in the middle, on a real Kafka: the same command brings the rest."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import Stack
from reweigh.cli import main
from reweigh.topics import Topics
from tests.reweigh.conftest import CHECKOUT
from tests.reweigh.test_real_servers import TOPICS, Write, positions, records_since

pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated. Use files:DeprecationWarning")

EVENTS, SENT_BEFORE_DEATH = 10_000, 5_000
# How far it is gets written every few seconds, in which a file of this size would be sent.
KILLED = """
import os, signal, sys
from reweigh import cli, kafka, loading
loading._SECONDS_BETWEEN_STATES = 0.0
send, left = kafka.EventProducer.send, int(sys.argv[1])
def counted(self, *record):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    send(self, *record)
kafka.EventProducer.send = counted
cli.main(sys.argv[2:])
"""


def test_a_killed_load_goes_on(
    servers: Stack, stack_env: Path, write_lines: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """By SIGKILL half way: then every event is there, once by its id, and what was acknowledged is not sent again."""
    bootstrap = servers.addresses.kafka
    Topics(bootstrap).wait_for_leaders(TOPICS)
    begin = positions(bootstrap)
    kinds = ("view", "add_to_cart", "purchase")
    lines: list[object] = [
        {"user_id": f"killed-{number}", "product_id": "p", "event_type": kinds[number % 3]} for number in range(EVENTS)
    ]
    file = write_lines("many.jsonl", lines)
    load = ["load", str(file), "--env", str(stack_env)]
    command = [sys.executable, "-c", KILLED, str(SENT_BEFORE_DEATH), *load]
    died = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=300)
    assert died.returncode == -signal.SIGKILL, died.stderr
    kept = json.loads(file.with_name(".many.jsonl.loading").read_text())["rows"]
    assert 0 < kept <= SENT_BEFORE_DEATH

    assert main(load) == 0
    assert f"went on after row {kept:,} of a load that was interrupted: {EVENTS:,} in all" in capsys.readouterr().out
    events = [json.loads(record.value() or b"") for record in records_since(bootstrap, begin)]
    by_id = {event["event_id"]: event["user_id"] for event in events}
    assert len(by_id) == EVENTS
    assert sorted(by_id.values()) == sorted(f"killed-{number}" for number in range(EVENTS))
    assert EVENTS <= len(events) <= EVENTS + SENT_BEFORE_DEATH - kept
    assert not file.with_name(".many.jsonl.loading").exists()
