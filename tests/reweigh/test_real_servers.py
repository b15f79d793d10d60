"""The commands on real Kafka, Redis and ZooKeeper."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
import redis
from kazoo.client import KazooClient

from deploy.local import Stack
from reccore import layout
from reccore.event_types import EventTypes
from reweigh.at_rest import read_totals, wait_until_applied
from reweigh.cli import main
from reweigh.errors import CommandError
from reweigh.kafka import EventProducer, check_topics, end_offsets
from tests.waiting import wait_until

TYPES = EventTypes.from_settings({})
TOPICS = tuple(TYPES.topics.values())
# kafka-python, with which the stack makes its topics, reads its resources in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated. Use files:DeprecationWarning")

Write = Callable[[str, list[object]], Path]


def records_since(bootstrap: str, begin: dict[tuple[str, int], int]) -> list[confluent_kafka.Message]:
    """Every record of the event topics from the given offsets on."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "test-records"})
    ends = positions(bootstrap)
    consumer.assign([confluent_kafka.TopicPartition(*place, offset) for place, offset in begin.items()])
    wanted = sum(ends.values()) - sum(begin.values())
    found = list[confluent_kafka.Message]()
    while len(found) < wanted:
        message = consumer.poll(10)
        assert message is not None
        assert message.error() is None
        found.append(message)
    consumer.close()
    return found


def positions(bootstrap: str) -> dict[tuple[str, int], int]:
    """The end offset of each partition."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "test-positions"})
    known = consumer.list_topics(timeout=10).topics
    found = {
        (topic, partition): consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, partition))[1]
        for topic in TOPICS
        for partition in known[topic].partitions
    }
    consumer.close()
    return found


def test_doctor_finds_each_server_healthy_and_leaves_nothing(
    servers: Stack, stack_env: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kafka, Redis and ZooKeeper take and give back a message, a key, a node; afterwards all is as it was."""
    client = redis.Redis.from_url(servers.addresses.redis_url)
    zookeeper = KazooClient(servers.addresses.zookeeper)
    zookeeper.start()
    try:
        keys, nodes = client.dbsize(), zookeeper.get_children("/")
        assert main(["doctor", "--env", str(stack_env)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[:2] for line in lines] == [["Kafka", "ok"], ["Redis", "ok"], ["ZooKeeper", "ok"]]
        assert all(" ms " in line for line in lines)
        assert client.dbsize() == keys
        assert zookeeper.get_children("/") == nodes
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": servers.addresses.kafka})

        def left() -> list[str]:
            return [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith("reweigh-doctor")]

        wait_until(lambda: not left())  # Kafka has answered the deletion before every broker has heard of it
    finally:
        zookeeper.stop()
        zookeeper.close()
        client.close()


def test_doctor_names_what_is_wrong(
    servers: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that isn't there and one that isn't set each have their line; the exit code is 1."""
    monkeypatch.setattr("reweigh.doctor.PATIENCE_SECONDS", 1.0)
    file = tmp_path / "some.env"
    file.write_text(
        f"REDIS_URL={servers.addresses.redis_url}\nKAFKA_BOOTSTRAP=127.0.0.1:1\nAPI_URL=http://127.0.0.1:1\n"
    )
    assert main(["doctor", "--env", str(file)]) == 1
    kafka, fine, zookeeper, api = capsys.readouterr().out.splitlines()
    assert "FAILED" in kafka
    assert "ok" in fine
    assert "ZOOKEEPER_HOSTS is not set" in zookeeper
    assert "FAILED" in api


def test_load_sends_each_event_to_its_topic_keyed_by_user(
    servers: Stack, stack_env: Path, write_lines: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Valid events arrive, record times are of now; the rejected line is reported and the exit code is 1."""
    events = [
        {"event_id": f"load-{number}", "user_id": number % 7, "product_id": "p", "event_type": name, "timestamp": 1}
        for number, name in enumerate(["view", "click", "cart", "transaction"] * 50)
    ]
    file = write_lines("events.jsonl", [*events, {"user_id": "u"}])
    begin = positions(servers.addresses.kafka)
    assert main(["load", str(file), "--env", str(stack_env), "--rejected", str(file.with_suffix(".bad"))]) == 1
    said = capsys.readouterr()
    assert "200 events in" in said.out
    assert "1 lines rejected" in said.out
    assert "line 201: invalid_product_id" in said.err
    assert json.loads(file.with_suffix(".bad").read_text())["line"] == 201
    found = records_since(servers.addresses.kafka, begin)
    topics = {"view": "view-events", "click": "view-events", "cart": "add-to-cart-events"}
    for message in found:
        event = json.loads(message.value() or b"")
        assert message.topic() == topics.get(event["event_type"], "purchase-events")
        assert message.key() == str(event["user_id"]).encode()
        assert message.timestamp()[1] > 1_700_000_000_000
    assert sorted(json.loads(each.value() or b"")["event_id"] for each in found) == sorted(
        f"load-{n}" for n in range(200)
    )
    of_user = [(each.topic(), each.partition()) for each in found if each.key() == b"3"]
    assert len(set(of_user)) == 3


def test_unjudged_lines_reach_kafka(servers: Stack, stack_env: Path, write_lines: Write) -> None:
    """`--no-validate` sends what the job will refuse."""
    begin = positions(servers.addresses.kafka)
    assert main(["load", str(write_lines("x.jsonl", ['{"x": NaN'])), "--env", str(stack_env), "--no-validate"]) == 0
    [message] = records_since(servers.addresses.kafka, begin)
    assert (message.topic(), message.key(), message.value()) == ("view-events", None, b'{"x": NaN')


def test_an_interrupted_load_goes_on_where_it_was(
    servers: Stack,
    stack_env: Path,
    write_lines: Write,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What Kafka has acknowledged by then is not sent again, and a rejected line is reported once."""
    events: list[object] = [
        {"user_id": "u", "product_id": "p", "event_type": "view", "event_id": f"stop-{n}"} for n in range(9_000)
    ]
    file, bad = write_lines("long.jsonl", [*events[:10], "{", *events[10:]]), stack_env.with_name("long.bad")
    begin = positions(servers.addresses.kafka)
    command = ["load", str(file), "--env", str(stack_env), "--rejected", str(bad)]
    monkeypatch.setattr("reweigh.loading._SECONDS_BETWEEN_STATES", 0.0)
    send, sent = EventProducer.send, iter(range(10_000))

    def interrupted(producer: EventProducer, *record: Any) -> None:
        if next(sent) == 5_000:
            raise KeyboardInterrupt
        send(producer, *record)

    monkeypatch.setattr(EventProducer, "send", interrupted)
    assert main(command) == 130
    monkeypatch.setattr(EventProducer, "send", send)
    assert main(command) == 1
    assert "went on after row 4,000 of a load that was interrupted: 9,000 in all" in capsys.readouterr().out
    ids = [json.loads(each.value() or b"")["event_id"] for each in records_since(servers.addresses.kafka, begin)]
    assert len(set(ids)) == 9_000
    assert len(ids) < 11_000
    assert [json.loads(line)["line"] for line in bad.read_text().splitlines()] == [11]
    assert not file.with_name(".long.jsonl.loading").exists()


def test_a_folder_of_retailrocket_brings_its_catalogue_and_its_events(
    servers: Stack, stack_env: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tags are an item's newest category and all above it; then the events go to their topics."""
    (tmp_path / "category_tree.csv").write_text("categoryid,parentid\n7,3\n3,1\n1,\n8,8\n")
    header = "timestamp,itemid,property,value\n"
    (tmp_path / "item_properties_part1.csv").write_text(
        f"{header}2,rr1,categoryid,7\n9,rr1,available,1\n1,rr2,764,n5\n"
    )
    (tmp_path / "item_properties_part2.csv").write_text(f"{header}1,rr1,categoryid,8\n5,rr3,categoryid,8\n")
    assert main(["load", str(tmp_path), "--env", str(stack_env)]) == 1
    assert "without events.csv" in capsys.readouterr().err
    (tmp_path / "events.csv").write_text("timestamp,visitorid,event,itemid,transactionid\n1433221332117,5,view,rr1,\n")
    begin = positions(servers.addresses.kafka)
    assert main(["load", str(tmp_path), "--env", str(stack_env)]) == 0
    said = capsys.readouterr().out
    assert "2 products stored" in said
    assert "1 events in" in said
    [message] = records_since(servers.addresses.kafka, begin)
    assert (message.topic(), message.key()) == ("view-events", b"5")
    with redis.Redis.from_url(servers.addresses.redis_url) as client:
        tags = {each: json.loads(client.hget(layout.CATALOG, each) or "{}")["tags"] for each in ("rr1", "rr3")}
        assert tags == {"rr1": ["category-7", "category-3", "category-1"], "rr3": ["category-8"]}
        client.hdel(layout.CATALOG, *tags)


def test_catalog_load_stores_products_and_raises_the_version(
    servers: Stack, stack_env: Path, write_lines: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Valid products are in Redis; a chunk raises the version once; wrong lines are named; old tags keep their age."""
    products: list[object] = [
        {"product_id": f"c{number}", "name": f"N {number}", "tags": ["x"]} for number in range(1_500)
    ]
    file = write_lines("products.jsonl", [*products, {"product_id": "bad", "price": "dear"}])
    with redis.Redis.from_url(servers.addresses.redis_url, decode_responses=True) as client:
        version = int(client.get(layout.CATALOG_VERSION) or 0)
        assert main(["catalog", "load", str(file), "--env", str(stack_env)]) == 1
        said = capsys.readouterr()
        assert "1,500 products stored, 1 lines rejected" in said.out
        assert "line 1501: invalid_price" in said.err
        stored = client.hgetall(layout.CATALOG)
        one = json.loads(stored["c7"])
        since = one.pop("tags_since_ms")
        assert one == {"name": "N 7", "tags": ["x"], "price": None, "category": None}
        assert "bad" not in stored
        assert int(client.get(layout.CATALOG_VERSION)) == version + 2
        other = write_lines("again.jsonl", [products[7], {"product_id": "c8", "tags": ["y"]}])
        assert main(["catalog", "load", str(other), "--env", str(stack_env)]) == 0
        again = {name: json.loads(client.hget(layout.CATALOG, name))["tags_since_ms"] for name in ("c7", "c8")}
        assert again["c7"] == since
        assert again["c8"] > since


def test_waiting_ends_when_the_totals_have_come_to_rest(servers: Stack) -> None:
    """Read = what Kafka holds; a job that stands still is an error, not an endless wait."""
    with redis.Redis.from_url(servers.addresses.redis_url) as client:
        counted = end_offsets(servers.addresses.kafka, TOPICS)
        told: list[tuple[int, int]] = []

        def wait(stuck: float) -> None:
            wait_until_applied(
                client,
                servers.addresses.kafka,
                TYPES,
                tell=lambda done, of: told.append((done, of)),
                stuck_seconds=stuck,
                settle_seconds=0.3,
            )

        send_one(servers.addresses.kafka)
        client.delete(layout.TOTALS)
        with pytest.raises(CommandError, match="does not go on"):
            wait(0.5)
        total = sum(counted.values()) + 1
        client.hset(layout.TOTALS, mapping={"read:view-events": f"{total}", "applied:view": f"{total - 2}"})
        wait(30)
        assert told[-1] == (total, total)
        assert read_totals(client).duplicates == 2
        client.delete(layout.TOTALS)


def send_one(bootstrap: str) -> None:
    """Send a record that is nobody's."""
    producer = EventProducer(bootstrap)
    producer.send("view-events", b"k", b"{}")
    producer.close()
    assert producer.acknowledged == 1


def test_missing_topics_and_brokers_are_named(servers: Stack) -> None:
    """The message says what isn't there."""
    with pytest.raises(CommandError, match="has no topic nothing-events"):
        check_topics(servers.addresses.kafka, ["view-events", "nothing-events"])
    with pytest.raises(CommandError, match="does not answer"):
        check_topics("127.0.0.1:1", TOPICS, seconds=1)
