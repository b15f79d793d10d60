"""Events through a real RabbitMQ into a real Kafka."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pika
import pytest
from prometheus_client import REGISTRY

from deploy.local.server import get
from reweigh.cli import main
from reweigh.rabbitmq.errors import NotConfirmed, RabbitRefused
from reweigh.rabbitmq.sender import EventSender
from reweigh.rabbitmq.settings import RabbitSettings
from tests.rabbitmq.reading import Site
from tests.waiting import wait_until

StartBridge = Callable[[], subprocess.Popen[str]]
PATIENCE = 120  # seconds; a busy machine is no failure


def metrics_text(site: Site) -> str:
    """What the bridge tells Prometheus."""
    return get(f"http://127.0.0.1:{site.settings.metrics_port}/metrics")[1].decode()


def test_events_and_dead_letters(site: Site, start_bridge: StartBridge, channel: pika.channel.Channel) -> None:
    """What follows the contract is in its topic; what does not is among the dead letters; the metrics say so."""
    queue = site.settings.queue
    start_bridge()
    with EventSender(settings=site.settings) as sender:
        ids = [
            sender.send_event("u1", "p1", event_id="flow-1"),
            sender.send_event("u2", 2, "cart", process_time="2026-01-31T12:00:00Z", tags=["red"], event_id="flow-2"),
            sender.send_event(3, "p3", "purchase", event_id="flow-3"),
        ]
    assert ids == ["flow-1", "flow-2", "flow-3"]
    foreign = pika.BasicProperties(message_id="flow-foreign", timestamp=1_700_000_000)
    channel.basic_publish("", queue, b'{"user_id": "u4", "product_id": "p4", "event_type": "view"}', foreign)
    bad = pika.BasicProperties(message_id="bad", headers={"trace": "t-1"})
    channel.basic_publish("", queue, b'{"user_id": "u5", "product_id": "p5", "event_type": "stare"}', bad)
    channel.basic_publish("", queue, b"\xff\x00")
    wait_until(lambda: site.ready(f"{queue}.dead") == 2, PATIENCE)
    wait_until(lambda: len(site.records("flow-")) == 4, PATIENCE, pause=0.2)

    found = site.records("flow-")
    assert {event_id: len(records) for event_id, records in found.items()} == dict.fromkeys(found, 1)
    one, two, three, four = (found[name][0] for name in ("flow-1", "flow-2", "flow-3", "flow-foreign"))
    assert (one.topic, one.key, one.event["item_id"]) == ("view-events", b"u1", "p1")
    assert isinstance(one.event["process_time"], int)
    assert (two.topic, two.key, two.event["tags"]) == ("add-to-cart-events", b"u2", ["red"])
    assert two.event["process_time"] == "2026-01-31T12:00:00Z"
    assert (three.topic, three.key) == ("purchase-events", b"3")
    assert (four.topic, four.event["timestamp"]) == ("view-events", 1_700_000_000)

    letters = [channel.basic_get(f"{queue}.dead", auto_ack=True) for _ in range(2)]
    by_reason = {properties.headers["x-reason"]: (properties, body) for _, properties, body in letters}
    properties, body = by_reason["invalid_event_type"]
    assert body == b'{"user_id": "u5", "product_id": "p5", "event_type": "stare"}'
    assert (properties.message_id, properties.delivery_mode) == ("bad", 2)
    assert (properties.headers["trace"], properties.headers["x-field"]) == ("t-1", "event_type")
    assert "stare" in properties.headers["x-detail"]
    assert by_reason["not_utf8"][1] == b"\xff\x00"

    text = metrics_text(site)
    assert 'messages_processed_total{action="view",outcome="forwarded"} 2.0' in text
    assert 'messages_processed_total{action="unknown",outcome="rejected"} 2.0' in text
    assert f'reweigh_bridge_lag_messages{{queue="{queue}"}} 0.0' in text
    assert "reweigh_bridge_connected 1.0" in text


def test_the_sender_writes_what_others_can_read(site: Site, channel: pika.channel.Channel) -> None:
    """Persistent, with ids and the user in a header; counted once it is confirmed."""
    before = REGISTRY.get_sample_value("events_sent_total", {"action": "purchase"}) or 0
    with EventSender("127.0.0.1", site.settings.port, site.settings.queue) as sender:
        event_id = sender.send_event("ü", "p", "transaction")
        assert sender.send_batch([]) == 0
        assert sender.send_batch({"user_id": n, "item_id": n, "action": "purchase"} for n in range(1_500)) == 1_500
    assert REGISTRY.get_sample_value("events_sent_total", {"action": "purchase"}) == before + 1_501
    assert site.ready() == 1_501
    _, properties, body = channel.basic_get(site.settings.queue, auto_ack=True)
    assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
    assert properties.headers == {"user_id": "ü"}
    event = json.loads(body)
    assert properties.message_id == event["event_id"] == event_id
    assert {"user_id": "ü", "item_id": "p", "action": "transaction"}.items() <= event.items()
    _, properties, body = channel.basic_get(site.settings.queue, auto_ack=True)
    assert properties.message_id == json.loads(body)["event_id"]


def test_the_sender_makes_its_queue_again(site: Site, channel: pika.channel.Channel) -> None:
    """A queue that was deleted is no confirmation, and no reason to lose anything."""
    with EventSender(settings=site.settings) as sender:
        sender.send_event("u", "p")
        channel.queue_delete(site.settings.queue)
        sender.send_event("u", "p")
        assert site.ready() == 1


def test_a_wrong_password_is_told_at_once(site: Site) -> None:
    """By sender and bridge, and without the password."""
    wrong = RabbitSettings(host="127.0.0.1", port=site.settings.port, password="not this one")
    with EventSender(settings=wrong) as sender, pytest.raises(RabbitRefused) as caught:
        sender.send_event("u", "p")
    assert "not this one" not in str(caught.value)
    site.env_file.write_text(site.env_file.read_text() + "RABBITMQ_PASSWORD=not this one\n")
    assert main(["bridge", "rabbitmq", "--env", str(site.env_file)]) == 1


def test_who_is_away_is_named() -> None:
    """With what was not confirmed, once patience is at its end."""
    away = RabbitSettings(host="127.0.0.1", port=1)
    with EventSender(settings=away, patience_seconds=0.1) as sender, pytest.raises(NotConfirmed) as caught:
        sender.send_event("u", "p")
    assert re.search(r"^1 of 1 events are not confirmed: .*127.0.0.1:1 is away .*refused", str(caught.value))


def test_who_says_nothing_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and then keeps silent is given up, and everything is closed."""
    usual = RabbitSettings.parameters

    def impatient(settings: RabbitSettings, *, heartbeat: int = 30) -> pika.ConnectionParameters:
        parameters = usual(settings, heartbeat=heartbeat)
        parameters.stack_timeout = 0.3
        return parameters

    monkeypatch.setattr(RabbitSettings, "parameters", impatient)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = RabbitSettings(host="127.0.0.1", port=silent.getsockname()[1])
        with EventSender(settings=away, patience_seconds=0.1) as sender, pytest.raises(NotConfirmed):
            sender.send_batch([{"user_id": number, "item_id": 1, "action": "view"} for number in range(1_001)])


def test_files_are_sent(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line under an id of its own, the same one each time; a bad line is told and stays here."""
    file = tmp_path / "events.csv"
    file.write_text("user_id,item_id,action,process_time\nu1,p1,click,1700000000\nu2,,click,1700000000\n")
    for sent in (1, 2):
        assert main(["bridge", "send", str(file), "--env", str(site.env_file)]) == 1
        assert re.search(r"1 events sent\n1 lines rejected, not sent: invalid_product_id 1", capsys.readouterr().out)
        assert site.ready() == sent
    connection = pika.BlockingConnection(site.settings.parameters())
    got = [connection.channel().basic_get(site.settings.queue)[1].message_id for _ in range(2)]
    connection.close()
    assert len(set(got)) == 1


def test_the_bridge_outlives_its_queue(site: Site, start_bridge: StartBridge, channel: pika.channel.Channel) -> None:
    """Deleted by somebody, it is made again, and what is sent then arrives; the end is quick and clean."""
    bridge = start_bridge()
    wait_until(lambda: "reweigh_bridge_connected 1.0" in metrics_text(site), PATIENCE)
    channel.queue_delete(site.settings.queue)
    wait_until(lambda: "reweigh_bridge_connected 0.0" in metrics_text(site), PATIENCE)
    with EventSender(settings=site.settings) as sender:
        sender.send_event("u", "p", event_id="again-1")
    wait_until(lambda: site.records("again-"), PATIENCE, pause=0.2)
    bridge.send_signal(signal.SIGTERM)
    assert bridge.wait(60) == 0
