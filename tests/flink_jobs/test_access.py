"""How the job is told secrets, and how its connector is."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.kafka_options import access_options
from flink_jobs.settings import parse_settings
from reccore.access import OPEN, KafkaAccess

PLACES = ["--kafka-bootstrap", "k:1", "--zookeeper-hosts", "z:1"]
CANARY = "canary-51c0"


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    """None stands on the command line; an option puts aside what the environment says, in either form."""
    files = {name: tmp_path / name for name in ("redis", "zookeeper", "kafka", "ca")}
    for name, text in {"redis": f"redis://job:{CANARY}@r:1/0", "zookeeper": f"job:{CANARY}", "kafka": CANARY}.items():
        files[name].write_text(f"{text}\n")
    files["ca"].write_text("-----BEGIN CERTIFICATE-----\n…\n")
    arguments = [*PLACES, "--redis-url-file", str(files["redis"]), "--zookeeper-auth-file", str(files["zookeeper"])]
    arguments += ["--kafka-security-protocol", "SASL_SSL", "--kafka-sasl-username", "job"]
    arguments += ["--kafka-sasl-password-file", str(files["kafka"]), "--kafka-ssl-ca-file", str(files["ca"])]
    settings = parse_settings(arguments, {"REDIS_URL": "redis://other:1/0", "KAFKA_SASL_PASSWORD": "other"})
    assert settings.redis_url == f"redis://job:{CANARY}@r:1/0"
    assert settings.zookeeper_auth == f"job:{CANARY}"
    assert settings.kafka_access.password == CANARY
    assert settings.kafka_ca_certificates.startswith("-----BEGIN")
    assert CANARY not in repr(settings)
    assert CANARY not in " ".join(arguments)


def test_the_environment_gives_the_defaults() -> None:
    """As for every other setting; what is missing and what is wrong end the program, without telling a secret."""
    environment = {"REDIS_URL": f"redis://:{CANARY}@r:1", "KAFKA_SECURITY_PROTOCOL": "SSL"}
    settings = parse_settings(PLACES, environment)
    assert (settings.redis_url, settings.kafka_access.protocol) == (environment["REDIS_URL"], "SSL")
    assert parse_settings([*PLACES, "--redis-url", "redis://x:1"], {"REDIS_URL_FILE": "/none"}).redis_url


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "--redis-url (or REDIS_URL in the environment) is required"),
        ({"REDIS_URL": f"redis://:{CANARY}#@r:1"}, "REDIS_URL='(not shown)'"),
        ({"REDIS_URL": "redis://r:1", "ZOOKEEPER_AUTH": CANARY}, "ZOOKEEPER_AUTH='(not shown)'"),
        ({"REDIS_URL": "redis://r:1", "KAFKA_SASL_PASSWORD": CANARY}, "KAFKA_SECURITY_PROTOCOL='PLAINTEXT'"),
        (
            {"REDIS_URL": "redis://r:1", "KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": "/none"},
            "KAFKA_SSL_CA_FILE='/none'",
        ),
    ],
)
def test_wrong_settings_end_the_program(
    environment: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the setting and what is allowed, and no secret."""
    with pytest.raises(SystemExit):
        parse_settings(PLACES, environment)
    told = capsys.readouterr()
    assert said in told.err
    assert CANARY not in told.out + told.err


def test_an_open_broker_needs_no_options() -> None:
    """The statement is then the one that it was without access settings."""
    assert access_options(OPEN, "") == ""


def test_options_of_the_connector() -> None:
    """User, password and certificates, with quotes and backslashes as SQL and JAAS want them."""
    odd = 'it\'s "a\\b"'
    scram = KafkaAccess("SASL_SSL", "SCRAM-SHA-256", "o'user", odd, "/ca.pem")
    lines = access_options(scram, "PEM\nlines")
    assert "'properties.security.protocol' = 'SASL_SSL',\n" in lines
    assert "'properties.sasl.mechanism' = 'SCRAM-SHA-256',\n" in lines
    assert "scram.ScramLoginModule required" in lines
    assert 'username="o\'\'user" password="it\'\'s \\"a\\\\b\\"";\'' in lines
    assert "'properties.ssl.truststore.certificates' = 'PEM\nlines',\n" in lines
    plain = access_options(KafkaAccess("SASL_PLAINTEXT", "PLAIN", "u", "p"), "")
    assert "plain.PlainLoginModule required" in plain
    assert "truststore" not in plain
