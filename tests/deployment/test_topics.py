"""`reweigh topics create` on a real broker, and the sweeper's sign of life."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import confluent_kafka.admin
import pytest

from reccore.event_types import EventTypes
from reccore.followed_topics import FollowedTopics
from reccore.topics import DEAD_LETTER_BYTES, topic_configurations
from recsvc.sweeper import Heartbeat
from reweigh.cli import main
from tests.servers import fresh_stack


def test_topics_are_created_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are missing, of the size and with the configuration that was asked for; others are left alone."""
    with fresh_stack("kafka") as stack:
        env = tmp_path / "settings.env"
        env.write_text(
            f"KAFKA_BOOTSTRAP={stack.addresses.kafka}\nVIEW_TOPIC=new-views\nPRODUCT_CATALOG_TOPIC=new-products\n"
        )
        create = ["topics", "create", "--partitions", "3", "--wait", "60", "--env", str(env)]
        assert main(create) == 0
        assert sorted(capsys.readouterr().out.splitlines()) == [
            "2 of 8 topics created, 6 were there",
            "created new-products",
            "created new-views",
        ]
        assert main(create) == 0
        assert capsys.readouterr().out == "0 of 8 topics created, 8 were there\n"
        kafka: Any = confluent_kafka.admin  # its stub leaves out what is used
        admin = kafka.AdminClient({"bootstrap.servers": stack.addresses.kafka})
        topics = admin.list_topics(timeout=30).topics
        assert len(topics["new-views"].partitions) == 3
        resource = kafka.ConfigResource("topic", "new-products")
        config = admin.describe_configs([resource])[resource].result(30)
        assert config["cleanup.policy"].value == "compact"
        refused = [*create, "--replication-factor", "2", "--min-insync", "2", "--wait", "0"]
        env.write_text(env.read_text() + "PURCHASE_TOPIC=new-purchases\n")
        assert main(refused) == 1, "there is one broker"
        assert "new-purchases can't be created" in capsys.readouterr().err


def test_more_replicas_can_not_be_asked_for_than_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """No producer could send anything."""
    assert main(["topics", "create", "--replication-factor", "2", "--min-insync", "3"]) == 1
    assert "--min-insync 3: at most --replication-factor" in capsys.readouterr().err


def test_every_topic_has_a_configuration() -> None:
    """Records are kept for ever; tables are compacted; a dead letter may be large."""
    types, followed = EventTypes.from_settings({"EXTRA_EVENT_TYPES": "like:likes"}), FollowedTopics()
    topics = topic_configurations(types, followed)
    assert set(topics) == {*types.by_topic, *followed.names, types.dead_letter_topic}
    assert topics["likes"] == {"retention.ms": "-1"}
    assert {name for name, config in topics.items() if config == {"cleanup.policy": "compact"}} == set(
        followed.compacted
    )
    assert topics[types.dead_letter_topic]["max.message.bytes"] == str(DEAD_LETTER_BYTES)


def test_a_sweeper_that_works_touches_its_file(tmp_path: Path) -> None:
    """At once, and not again within the same second; without a file nothing is done."""
    file = tmp_path / "alive"
    heartbeat = Heartbeat(str(file))
    heartbeat.beat()
    os.utime(file, (1, 1))
    heartbeat.beat()
    assert file.stat().st_mtime == 1
    Heartbeat("").beat()
