"""A real Kafka broker that asks who is there: by SASL on a plain port, and by SASL over TLS on another."""

from __future__ import annotations

import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stub leaves them out
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from deploy.local import jars
from deploy.local.home import Home
from deploy.local.java import LITTLE_TO_DO, java_home
from deploy.local.logging_files import server_logging
from deploy.local.settings import read_settings
from deploy.local.topics import broker_answers, create_topics
from reccore.access import KafkaAccess
from tests.waiting import wait_until

USER, PASSWORD = "reweigh", 'right "and" it\'s a \\ one'
_STORE_PASSWORD = "keystore"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True)
class SecuredBroker:
    """Where it listens: ``internal`` for itself and who set it up, ``clear`` with SASL, ``tls`` with SASL over TLS."""

    internal: str
    clear: str
    tls: str
    ca_file: Path
    other_ca_file: Path
    log: Path

    def access(self, *, password: str = PASSWORD, mechanism: str = "SCRAM-SHA-512", tls: bool = True) -> KafkaAccess:
        """How a client reaches it."""
        if tls:
            return KafkaAccess("SASL_SSL", mechanism, USER, password, str(self.ca_file))
        return KafkaAccess("SASL_PLAINTEXT", mechanism, USER, password)


@contextmanager
def secured_broker(folder: Path) -> Iterator[SecuredBroker]:
    """Start it with its topics in an empty folder; it is ended with the context."""
    jars.fetch_jars(print)
    home = Home.at(folder)
    home.create()
    own, other = _certificate(folder, "broker"), _certificate(folder, "other")
    ports = _free_ports(4)
    internal, clear, tls = (f"127.0.0.1:{port}" for port in ports[:3])
    configuration = folder / "server.properties"
    configuration.write_text(_properties(folder, ports))
    java = (str(java_home() / "bin" / "java"), *LITTLE_TO_DO, "-Xmx384m", "-cp", jars.class_path("kafka"))
    _run(*java, "kafka.tools.StorageTool", "format", "-c", str(configuration), "-t", uuid.uuid4().hex[:22])
    log = folder / "broker.log"
    command = (*java, f"-Dlog4j2.configurationFile={server_logging(home)}", "kafka.Kafka", str(configuration))
    with log.open("w") as sink, subprocess.Popen(command, stdout=sink, stderr=sink, cwd=folder) as process:
        try:
            wait_until(lambda: process.poll() is not None or broker_answers(internal), 120, what="the broker answers")
            assert process.poll() is None, log.read_text()
            create_topics(internal, read_settings(home, {}), patience_seconds=60)
            _add_user(internal)
            yield SecuredBroker(internal, clear, tls, own, other, log)
        finally:
            process.terminate()
            process.wait(60)


def _properties(folder: Path, ports: list[int]) -> str:
    internal, clear, tls, controller = ports
    plain = f"org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}={_quoted(PASSWORD)};"
    public = f"INTERNAL://127.0.0.1:{internal},CLEAR://127.0.0.1:{clear},TLS://127.0.0.1:{tls}"
    options = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"{public},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": public,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INTERNAL",
        "listener.security.protocol.map": "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,CLEAR:SASL_PLAINTEXT,TLS:SASL_SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(folder / "broker.p12"),
        "ssl.keystore.password": _STORE_PASSWORD,
        "log.dirs": str(folder / "data"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # The local stack's record times are the producer's affair too.
        "log.message.timestamp.after.max.ms": "9223372036854775807",
    }
    for listener in ("clear", "tls"):
        options[f"listener.name.{listener}.scram-sha-512.sasl.jaas.config"] = _SCRAM
        options[f"listener.name.{listener}.plain.sasl.jaas.config"] = plain
    escaped = {name: value.replace("\\", "\\\\") for name, value in options.items()}
    return "".join(f"{name}={value}\n" for name, value in escaped.items())


def _certificate(folder: Path, name: str) -> Path:
    """Make a key with a certificate for 127.0.0.1 that signs itself; give the certificate as a PEM file."""
    store, certificate = folder / f"{name}.p12", folder / f"{name}.pem"
    keytool = str(java_home() / "bin" / "keytool")
    common = ("-keystore", str(store), "-storetype", "PKCS12", "-storepass", _STORE_PASSWORD, "-alias", name)
    made = ("-genkeypair", "-keyalg", "EC", "-dname", f"CN={name}", "-validity", "30")
    _run(keytool, *made, "-ext", "san=ip:127.0.0.1", "-ext", "bc:c", *common)
    _run(keytool, "-exportcert", "-rfc", "-file", str(certificate), *common)
    return certificate


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _add_user(internal: str) -> None:
    admin = AdminClient({"bootstrap.servers": internal})
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    [done] = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, scram, PASSWORD.encode())]).values()
    done.result(60)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
