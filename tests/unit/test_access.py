"""Secrets as they are given, and what is told of them when they are given wrongly: never the value."""

from __future__ import annotations

from pathlib import Path

import pytest

from reccore.access import (
    OPEN,
    KafkaAccess,
    api_keys_setting,
    redis_url_setting,
    secret_setting,
    zookeeper_auth_setting,
)
from reccore.errors import SettingError

CANARY = "canary-7f3a"


def read(file: str) -> str:
    """The text of a file."""
    return Path(file).read_text(encoding="utf-8")


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    """Without the line break that editors leave; as it is where no file is named; empty where nothing is."""
    file = tmp_path / "secret"
    file.write_text(f"{CANARY}\n")
    assert secret_setting({"NAME_FILE": str(file)}, "NAME", read) == CANARY
    assert secret_setting({"NAME": CANARY, "NAME_FILE": ""}, "NAME", read) == CANARY
    assert secret_setting({}, "NAME", read) == ""


def test_a_file_that_gives_no_secret_stops_the_process(tmp_path: Path) -> None:
    """Absent, empty, or no text: an open door must not come of a mistake. So must a secret given twice."""
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    for file in (tmp_path / "absent", tmp_path, empty, binary):
        with pytest.raises(SettingError, match="CONFIG_API_KEY_FILE="):
            api_keys_setting({"CONFIG_API_KEY_FILE": str(file)}, read)
    with pytest.raises(SettingError, match="not both") as told:
        secret_setting({"NAME": CANARY, "NAME_FILE": "x"}, "NAME", read)
    assert CANARY not in str(told.value)


def test_one_key_or_two() -> None:
    """Separated by a comma or a line break; a third, or nothing but commas, is a mistake."""
    assert api_keys_setting({}, read) == ()
    assert api_keys_setting({"CONFIG_API_KEY": "one"}, read) == ("one",)
    assert api_keys_setting({"CONFIG_API_KEY": "new, old"}, read) == ("new", "old")
    assert api_keys_setting({"CONFIG_API_KEY": "new\nold\n"}, read) == ("new", "old")
    for wrong in (f"{CANARY},b,c", " , "):
        with pytest.raises(SettingError) as told:
            api_keys_setting({"CONFIG_API_KEY": wrong}, read)
        assert CANARY not in str(told.value)


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{CANARY}@host:1",
        f"redis://u:{CANARY}#x@host:6379/0",
        f"redis://u:12/{CANARY}@host:6379/0",
        f"redis://u:12?{CANARY}@host:6379/0",
        f"redis://u:{CANARY}@host:port/0",
    ],
)
def test_a_redis_url_that_cannot_be_read_is_not_shown(url: str) -> None:
    """A password with a special character that isn't written as %XX would be taken for a host or a port."""
    with pytest.raises(SettingError, match="%XX") as told:
        redis_url_setting({"REDIS_URL": url}, read)
    assert CANARY not in str(told.value)
    assert told.value.__cause__ is None


@pytest.mark.parametrize("url", ["redis://host:1/0", "rediss://u:p%23%2F@host/3", "unix://u:p@/run/redis.sock?db=1"])
def test_redis_urls(url: str) -> None:
    """What redis-py takes is taken."""
    assert redis_url_setting({"REDIS_URL": url}, read) == url


def test_a_wrong_address_without_a_password_is_shown() -> None:
    """Then the value helps, and is no secret."""
    with pytest.raises(SettingError, match="REDIS_URL='localhost:6379'"):
        redis_url_setting({"REDIS_URL": "localhost:6379"}, read)


def test_zookeeper_auth() -> None:
    """User and password; the password may hold colons."""
    assert zookeeper_auth_setting({"ZOOKEEPER_AUTH": "reweigh:a:b"}, read) == "reweigh:a:b"
    for wrong in (CANARY, f":{CANARY}", f"{CANARY}:"):
        with pytest.raises(SettingError, match="user:password") as told:
            zookeeper_auth_setting({"ZOOKEEPER_AUTH": wrong}, read)
        assert CANARY not in str(told.value)


SASL = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_USERNAME": "reweigh",
    "KAFKA_SASL_PASSWORD": CANARY,
    "KAFKA_SSL_CA_FILE": "/ca.pem",
}


def test_kafka_access() -> None:
    """Open without settings; the default mechanism is the strongest; the password is in no text of it."""
    assert KafkaAccess.from_settings({}, read) == OPEN
    access = KafkaAccess.from_settings(SASL, read)
    assert (access.mechanism, access.password, access.has_sasl, access.has_tls) == ("SCRAM-SHA-512", CANARY, True, True)
    assert CANARY not in repr(access)
    tls = KafkaAccess.from_settings({"KAFKA_SECURITY_PROTOCOL": "SSL"}, read)
    assert (tls.has_sasl, tls.has_tls, tls.mechanism) == (False, True, "")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "sasl_ssl"}, "KAFKA_SECURITY_PROTOCOL='sasl_ssl'"),
        ({"KAFKA_SASL_MECHANISM": "GSSAPI"}, "KAFKA_SASL_MECHANISM='GSSAPI'"),
        ({"KAFKA_SASL_USERNAME": ""}, "KAFKA_SASL_USERNAME"),
        ({"KAFKA_SASL_PASSWORD": ""}, "KAFKA_SASL_PASSWORD"),
        ({"KAFKA_SECURITY_PROTOCOL": ""}, "KAFKA_SECURITY_PROTOCOL='PLAINTEXT'"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "KAFKA_SECURITY_PROTOCOL='SASL_PLAINTEXT'"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL"}, "KAFKA_SECURITY_PROTOCOL='SSL'"),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(change: dict[str, str], named: str) -> None:
    """A password without SASL, certificates without TLS: who sets them believes in a protection that isn't there."""
    with pytest.raises(SettingError) as told:
        KafkaAccess.from_settings({**SASL, **change}, read)
    assert str(told.value).startswith(named)
    assert CANARY not in str(told.value)
