"""Secrets, and how the servers are reached with them; read from settings by the job, the service and the commands.

A secret ``NAME`` is given as it is, or as ``NAME_FILE``, the path of a file that holds it. The file is the better way:
an environment is inherited by every child process, and Flink's client writes its own into its log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from reccore.errors import SettingError
from reccore.redis_url import parse_redis_url

ReadFile = Callable[[str], str]
"""Gives the text of a file by its path. Raises ``OSError`` or ``UnicodeDecodeError``."""

NOT_SHOWN: Final = "(not shown)"
PLAINTEXT: Final = "PLAINTEXT"
PROTOCOLS: Final = (PLAINTEXT, "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
_MOST_KEYS: Final = 2


def secret_setting(settings: Mapping[str, str], key: str, read_file: ReadFile) -> str:
    """Give a secret without the white space around it, "" when it isn't set.

    Raises :class:`SettingError`, which never tells the value.
    """
    value, file = settings.get(key) or "", settings.get(f"{key}_FILE") or ""
    if value and file:
        raise SettingError(key, NOT_SHOWN, f"{key} or {key}_FILE, not both")
    if not file:
        return value.strip()
    try:
        text = read_file(file).strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingError(f"{key}_FILE", file, f"a text file that can be read ({type(exc).__name__})") from None
    if not text:
        raise SettingError(f"{key}_FILE", file, "a file that is not empty")
    return text


def api_keys_setting(settings: Mapping[str, str], read_file: ReadFile) -> tuple[str, ...]:
    """Give the keys of ``CONFIG_API_KEY``: none, one, or two while one takes the other's place.

    They are separated by a comma or a line break. Raises :class:`SettingError`.
    """
    text = secret_setting(settings, "CONFIG_API_KEY", read_file)
    keys = tuple(each.strip() for each in re.split(r"[,\n]", text) if each.strip())
    if len(keys) > _MOST_KEYS or (text and not keys):
        raise SettingError("CONFIG_API_KEY", NOT_SHOWN, "one key, or two separated by a comma or a line break")
    return keys


def redis_url_setting(settings: Mapping[str, str], read_file: ReadFile, default: str = "") -> str:
    """Give ``REDIS_URL``, which may carry user and password. Raises :class:`SettingError`."""
    url = secret_setting(settings, "REDIS_URL", read_file) or default
    if url:
        try:
            parse_redis_url(url)
        except ValueError as exc:
            raise SettingError("REDIS_URL", NOT_SHOWN if "@" in url else url, str(exc)) from None
    return url


def zookeeper_auth_setting(settings: Mapping[str, str], read_file: ReadFile) -> str:
    """Give ``ZOOKEEPER_AUTH``, ``user:password`` of a digest, "" for none. Raises :class:`SettingError`."""
    auth = secret_setting(settings, "ZOOKEEPER_AUTH", read_file)
    user, _, password = auth.partition(":")
    if auth and not (user and password):
        raise SettingError("ZOOKEEPER_AUTH", NOT_SHOWN, "user:password")
    return auth


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """How brokers are spoken to: a plain connection, TLS, and who we are by SASL."""

    protocol: str = PLAINTEXT
    mechanism: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    """PEM certificates of who signs the brokers'; empty for those that the system trusts."""

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted, and the broker's certificate looked at."""
        return self.protocol.endswith("SSL")

    @property
    def has_sasl(self) -> bool:
        """Whether a user and a password are given."""
        return self.protocol.startswith("SASL")

    def librdkafka_options(self) -> dict[str, str]:
        """Give protocol, user and certificates under librdkafka's names."""
        options = {"security.protocol": self.protocol}
        if self.has_sasl:
            login = {"mechanism": self.mechanism, "username": self.username, "password": self.password}
            options |= {f"sasl.{name}": value for name, value in login.items()}
        if self.ca_file:
            options["ssl.ca.location"] = self.ca_file
        return options

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], read_file: ReadFile) -> KafkaAccess:
        """Read ``KAFKA_SECURITY_PROTOCOL``, ``KAFKA_SASL_…`` and ``KAFKA_SSL_CA_FILE``. Raises :class:`SettingError`.

        What would have no effect under the protocol is refused: who sets a password believes that it is asked for.
        """
        protocol = settings.get("KAFKA_SECURITY_PROTOCOL") or PLAINTEXT
        if protocol not in PROTOCOLS:
            raise SettingError("KAFKA_SECURITY_PROTOCOL", protocol, f"one of {', '.join(PROTOCOLS)}")
        mechanism, username = settings.get("KAFKA_SASL_MECHANISM") or "", settings.get("KAFKA_SASL_USERNAME") or ""
        password = secret_setting(settings, "KAFKA_SASL_PASSWORD", read_file)
        ca_file = settings.get("KAFKA_SSL_CA_FILE") or ""
        access = cls(protocol, mechanism or MECHANISMS[0], username, password, ca_file)
        if access.has_sasl:
            access._check_sasl()
            used = access
        elif mechanism or username or password:
            raise SettingError("KAFKA_SECURITY_PROTOCOL", protocol, "SASL_SSL or SASL_PLAINTEXT with KAFKA_SASL_…")
        else:
            used = cls(protocol, ca_file=ca_file)
        if ca_file and not used.has_tls:
            raise SettingError("KAFKA_SECURITY_PROTOCOL", protocol, "SSL or SASL_SSL with KAFKA_SSL_CA_FILE")
        return used

    def _check_sasl(self) -> None:
        if self.mechanism not in MECHANISMS:
            raise SettingError("KAFKA_SASL_MECHANISM", self.mechanism, f"one of {', '.join(MECHANISMS)}")
        for key, value in (("KAFKA_SASL_USERNAME", self.username), ("KAFKA_SASL_PASSWORD", self.password)):
            if not value:
                raise SettingError(key, "", f"a value, with KAFKA_SECURITY_PROTOCOL={self.protocol}")


OPEN: Final = KafkaAccess()
"""A plain connection without a user."""
