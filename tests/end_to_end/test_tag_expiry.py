"""A job with other settings counts what Kafka has left, and forgets tags: the last test here, it changes the stack."""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any

import pytest
from confluent_kafka import Producer

from deploy.local import Stack
from deploy.local.cluster_jobs import list_jobs
from deploy.local.settings import remember_settings
from faults.patience import wait_until
from reccore import encoding, layout
from reweigh import cli
from tests.end_to_end.conftest import SETTINGS

EXPIRY_SECONDS = 10

pytestmark = pytest.mark.timeout(900)


def send(stack: Stack, user_id: str, tags: list[str]) -> None:
    """Send one view, and wait until the broker has it."""
    producer = Producer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"]})
    event = {"user_id": user_id, "product_id": "p", "tags": tags}
    producer.produce("view-events", json.dumps(event).encode(), key=user_id)
    assert producer.flush(30) == 0


def answered(stack: Stack, user_id: str) -> dict[str, float]:
    """The user's tags as the service answers them."""
    with urllib.request.urlopen(f"{stack.env['API_URL']}/profile/{user_id}", timeout=20) as answer:
        tags: dict[str, float] = json.loads(answer.read())["tags"]
    return tags


def test_a_tag_without_events_is_forgotten(whole: Stack, client: Any) -> None:
    """A job with an expiry, and without recent events, is begun anew, and kept; then tags go, from its state too.

    It has to be asked for: a test before has let Kafka delete first records, and the keeper refuses to count the rest.
    """
    before = [job.identity for job in list_jobs(whole.env["FLINK_REST"]) or [] if job.exists]
    chosen = {**SETTINGS, "TAG_EXPIRY_SECONDS": str(EXPIRY_SECONDS), "RECENT_EVENTS": "0"}
    home = ["--home", str(whole.home.path)]
    assert cli.main(["job", "stop", *home]) == 0
    remember_settings(whole.home, chosen)
    assert cli.main(["job", "submit", "--anew", *home]) == 0
    Stack(whole.home.path, environment={**os.environ, **chosen}, tell=print).up()
    after = [job.identity for job in list_jobs(whole.env["FLINK_REST"]) or [] if job.exists]
    assert len(after) == 1
    assert after != before
    counts_key = layout.counts_key("forgetful")
    send(whole, "forgetful", ["seldom"])
    wait_until("the event is counted", lambda: client.hget(counts_key, "seldom"))
    assert set(answered(whole, "forgetful")) == {"seldom"}
    wait_until("it is left out of answers", lambda: not answered(whole, "forgetful"))
    wait_until("it is removed", lambda: not client.exists(counts_key, layout.profile_key("forgetful")))
    send(whole, "forgetful", ["seldom"])
    wait_until("the next event is counted", lambda: client.hget(counts_key, "seldom"))
    row = client.hget(counts_key, "seldom") or ""
    assert encoding.decode_counts(row).counts[:3] == (1, 0, 0)  # the state had forgotten it too
