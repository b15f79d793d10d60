"""Kafka with SASL and TLS, on a real broker: the right credentials work, each wrong one is refused."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reccore.access import OPEN, KafkaAccess
from recsvc.confluent_publisher import ConfluentEventPublisher
from recsvc.errors import IngestUnavailable
from recsvc.ingest import Message, Placed
from recsvc.kafka_publisher import KafkaEventPublisher
from reweigh.cli import main
from reweigh.errors import CommandError
from reweigh.kafka import check_topics, end_offsets
from reweigh.verify.log import EventLog
from tests.security.broker import PASSWORD, USER, SecuredBroker
from tests.waiting import wait_until

TOPIC = "view-events"
# kafka-python leaves sockets that were refused under TLS to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
MESSAGE = Message(TOPIC, b"u", b'{"user_id": "u", "product_id": "p"}')
Publisher = type[ConfluentEventPublisher] | type[KafkaEventPublisher]
PUBLISHERS = pytest.mark.parametrize("kind", [ConfluentEventPublisher, KafkaEventPublisher])
Reach = Callable[[SecuredBroker], tuple[str, KafkaAccess]]

GOOD: dict[str, Reach] = {
    "SCRAM over TLS": lambda broker: (broker.tls, broker.access()),
    "PLAIN over TLS": lambda broker: (broker.tls, broker.access(mechanism="PLAIN")),
    "SCRAM in the clear": lambda broker: (broker.clear, broker.access(tls=False)),
}
BAD: dict[str, Reach] = {
    "wrong password": lambda broker: (broker.tls, broker.access(password="wrong-7f3a")),
    "wrong user": lambda broker: (broker.tls, replace(broker.access(), username="nobody")),
    "wrong password for PLAIN": lambda broker: (broker.tls, broker.access(password="wrong-7f3a", mechanism="PLAIN")),
    "a mechanism that is not offered": lambda broker: (broker.tls, broker.access(mechanism="SCRAM-SHA-256")),
    "another signer": lambda broker: (broker.tls, replace(broker.access(), ca_file=str(broker.other_ca_file))),
    "no user": lambda broker: (broker.clear, OPEN),
    "no TLS": lambda broker: (broker.tls, broker.access(tls=False)),
}


@PUBLISHERS
@pytest.mark.parametrize("how", GOOD)
def test_the_service_publishes_with_the_right_credentials(broker: SecuredBroker, how: str, kind: Publisher) -> None:
    """Acknowledged, as on an open broker."""
    address, access = GOOD[how](broker)
    publisher = kind(address, most_in_flight=10, timeout_ms=20_000, access=access)
    try:
        wait_until(lambda: isinstance(publisher.publish([MESSAGE])[0], Placed), 60)
    finally:
        publisher.stop()


@PUBLISHERS
@pytest.mark.parametrize("how", BAD)
def test_the_service_is_refused_with_wrong_credentials(
    broker: SecuredBroker, how: str, kind: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing gets into the topic; the sender is told that it wasn't taken, and nobody is told the password."""
    caplog.set_level("DEBUG")
    before = records(broker)
    address, access = BAD[how](broker)
    publisher = kind(address, most_in_flight=10, timeout_ms=3_000, access=access)
    try:
        for answer in publisher.publish([MESSAGE] * 2):
            assert isinstance(answer, IngestUnavailable)
            assert "wrong-7f3a" not in str(answer)
    finally:
        publisher.stop()
        gc.collect()  # here, where the warnings are ignored
    assert records(broker) == before
    assert "wrong-7f3a" not in caplog.text


@pytest.mark.parametrize("how", GOOD)
def test_commands_work_with_the_right_credentials(
    broker: SecuredBroker, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`reweigh load` counts what Kafka has acknowledged; addresses are in one file, the password in another."""
    address, access = GOOD[how](broker)
    events = tmp_path / "events.jsonl"
    lines = [{"event_id": f"{how} {n}", "user_id": n, "product_id": "p", "event_type": "view"} for n in range(20)]
    events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = records(broker)
    assert main(["load", str(events), "--env", str(env_file(tmp_path, address, access))]) == 0
    assert "20 events in" in capsys.readouterr().out
    assert records(broker) == before + 20
    assert end_offsets(address, [TOPIC], access=access)[TOPIC] == before + 20


@pytest.mark.parametrize("how", BAD)
def test_commands_are_refused_with_wrong_credentials(
    broker: SecuredBroker, how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1, nothing in the topic, and what is said names the cause and no password."""
    address, access = BAD[how](broker)
    before = records(broker)
    with pytest.raises(CommandError) as told:
        check_topics(address, [TOPIC], 5, access=access)
    if access.has_sasl and access.has_tls:
        assert any(word in str(told.value).lower() for word in ("authentication", "mechanism", "certificate")), told
    if how == "wrong password":
        events = tmp_path / "events.jsonl"
        events.write_text('{"user_id": "u", "product_id": "p", "event_type": "view"}\n')
        assert main(["load", str(events), "--env", str(env_file(tmp_path, address, access))]) == 1
        said = capfd.readouterr()
        assert "uthentication" in said.err
        assert "wrong-7f3a" not in said.out + said.err
    assert "wrong-7f3a" not in str(told.value)
    assert records(broker) == before


def test_verify_reads_the_log_with_the_credentials(broker: SecuredBroker) -> None:
    """Every record of the topic; with a wrong password it says that Kafka doesn't answer."""
    log = EventLog(broker.tls, [TOPIC], broker.access().librdkafka_options())
    ends = log.ends()
    assert sum(len(batch.table) for batch in log.read({}, ends)) == sum(ends.values()) == records(broker)
    wrong = EventLog(broker.tls, [TOPIC], broker.access(password="wrong-7f3a").librdkafka_options())
    with pytest.raises(CommandError, match="does not answer"):
        wrong.ends()


def test_doctor_uses_the_credentials(
    broker: SecuredBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A topic made, written, read and deleted; with a wrong password the cause is named."""
    monkeypatch.setattr("reweigh.doctor.PATIENCE_SECONDS", 15.0)
    main(["doctor", "--env", str(env_file(tmp_path, broker.tls, broker.access()))])
    assert capsys.readouterr().out.splitlines()[0].split()[:2] == ["Kafka", "ok"]
    monkeypatch.setattr("reweigh.doctor.PATIENCE_SECONDS", 3.0)
    main(["doctor", "--env", str(env_file(tmp_path, broker.tls, broker.access(password="wrong-7f3a")))])
    said = capsys.readouterr().out
    assert "uthentication" in said.splitlines()[0]
    assert "wrong-7f3a" not in said


def env_file(folder: Path, address: str, access: KafkaAccess) -> Path:
    """The settings of such an access, the password in a file of its own."""
    (folder / "password").write_text(access.password + "\n")
    settings = {
        "KAFKA_BOOTSTRAP": address,
        "KAFKA_SECURITY_PROTOCOL": access.protocol,
        "KAFKA_SASL_MECHANISM": access.mechanism,
        "KAFKA_SASL_USERNAME": access.username,
        "KAFKA_SASL_PASSWORD_FILE": str(folder / "password"),
        "KAFKA_SSL_CA_FILE": access.ca_file,
    }
    file = folder / "stack.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return file


def records(broker: SecuredBroker) -> int:
    """How many records the topic has."""
    return end_offsets(broker.internal, [TOPIC])[TOPIC]


def test_the_password_of_these_tests_is_an_odd_one() -> None:
    """Quotes, spaces and a backslash reach every client as they are."""
    assert set(PASSWORD) >= set("\"' \\")
    assert USER
