"""`reweigh train` on a real Kafka and Redis."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from deploy.local import Stack
from reccore.event_types import EventTypes
from recsvc.models.store import ModelStore
from reweigh.cli import main
from reweigh.kafka import EventProducer
from reweigh.train.events import event_table
from reweigh.train.sources import read_topics
from reweigh.verify.log import EventLog

TYPES = EventTypes.from_settings({})
# kafka-python, with which the stack makes its topics, reads its resources in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated. Use files:DeprecationWarning")


def test_each_event_of_the_topics_counts_once(
    servers: Stack,
    stack_env: Path,
    tmp_path: Path,
    write_lines: Callable[[str, list[object]], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Repeats count once, bad records not at all; the model is published under the weights given."""
    who = f"trainee-{uuid.uuid4().hex}"  # the servers keep what an earlier run has sent
    events: list[object] = [
        {
            "event_id": f"{who}-{n}",
            "user_id": f"{who}-{n % 9}",
            "product_id": f"trained-{n % 7}",
            "event_type": ("view", "add_to_cart", "purchase")[n % 3],
            "timestamp": 1_700_000_000 + n,
            **({"tags": ["t"]} if n % 2 else {}),
        }
        for n in range(90)
    ]
    for name in ("once", "again"):
        assert main(["load", str(write_lines(f"{name}.jsonl", events)), "--env", str(stack_env)]) == 0
    producer = EventProducer(servers.addresses.kafka)
    for value in (b"{", json.dumps({"user_id": f"{who}-0"}).encode()):
        producer.send("view-events", b"key", value)
    # Without an id each record is an event of its own.
    producer.send("view-events", b"key", json.dumps({"user_id": f"{who}-0", "item_id": "trained-0"}).encode())
    producer.close()
    with event_table(tmp_path, TYPES.names) as table:
        told: list[tuple[str, int, int]] = []
        topics = TYPES.topics
        log = EventLog(servers.addresses.kafka, topics.values())
        read_topics(table, log, topics, tmp_path, lambda *each: told.append(each))
        assert told[-1][1] == told[-1][2] >= 183
        rows = table.database.sql(
            f"SELECT type, count(*), count(tags) FROM events WHERE user_id LIKE '{who}-%' GROUP BY type ORDER BY type"  # noqa: S608
        ).fetchall()
        assert rows == [(0, 31, 15), (1, 30, 15), (2, 30, 15)]
    capsys.readouterr()
    assert main(["train", "--env", str(stack_env), "--weights", "1,2,3", "--factors", "4", "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    with closing(ModelStore(servers.addresses.redis_url)) as store:
        model = store.load(store.current())
    assert (model.version, model.training["weights"]) == (
        found["version"],
        {"view": 1, "add_to_cart": 2, "purchase": 3},
    )
    assert {f"trained-{n}" for n in range(7)} <= set(model.product_ids)
