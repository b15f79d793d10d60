"""Where RabbitMQ is and how it is spoken to."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pika

from reccore.access import secret_setting
from reccore.errors import SettingError

SETTINGS: Final = (
    "RABBITMQ_HOST",
    "RABBITMQ_PORT",
    "RABBITMQ_QUEUE",
    "RABBITMQ_USERNAME",
    "RABBITMQ_PASSWORD",
    "RABBITMQ_VHOST",
    "RABBITMQ_TLS",
    "RABBITMQ_CA_FILE",
    "RABBITMQ_PREFETCH",
    "RABBITMQ_METRICS_PORT",
    "RABBITMQ_METRICS_HOST",
)
"""Every setting; ``RABBITMQ_PASSWORD_FILE`` stands for the password, too."""

QUEUE: Final = "recommendation-events"
_LONGEST_QUEUE: Final = 250  # bytes; AMQP allows 255, and the dead-letter queue's name is five longer


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitSettings:
    """The server, the queue, and who we are there."""

    host: str = "localhost"
    port: int = 5672
    queue: str = QUEUE
    username: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = "/"
    tls: bool = False
    ca_file: str = ""
    """PEM certificates of who signs the server's; empty for those that the system trusts."""
    prefetch: int = 1_000
    """Messages that are in hand at once without having been acknowledged."""
    metrics_port: int = 0
    """0: no metrics."""
    metrics_host: str = "127.0.0.1"

    @property
    def dead_letter_queue(self) -> str:
        """Where messages go that break the contract."""
        return f"{self.queue}.dead"

    @property
    def address(self) -> str:
        """``host:port``, for messages."""
        return f"{self.host}:{self.port}"

    def parameters(self, *, heartbeat: int = 30) -> pika.ConnectionParameters:
        """Give what pika connects with: one attempt, and an answer within seconds.

        Raises :class:`SettingError` when the certificates can't be read.
        """
        return pika.ConnectionParameters(
            host=self.host,
            port=self.port,
            virtual_host=self.vhost,
            credentials=pika.PlainCredentials(self.username, self.password),
            ssl_options=pika.SSLOptions(self._tls_context(), self.host) if self.tls else None,
            heartbeat=heartbeat,
            socket_timeout=5,
            stack_timeout=8,
            tcp_options={"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4},
        )

    def _tls_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file or None)
        except OSError as exc:  # what is wrong with a certificate is one, too
            raise SettingError("RABBITMQ_CA_FILE", self.ca_file, f"PEM certificates that can be read ({exc})") from exc


def rabbit_settings(values: Mapping[str, str]) -> RabbitSettings:
    """Read the settings from environment variables or the like. Raises :class:`SettingError`."""
    tls, ca_file = _switch(values, "RABBITMQ_TLS"), values.get("RABBITMQ_CA_FILE") or ""
    if ca_file and not tls:
        raise SettingError("RABBITMQ_TLS", values.get("RABBITMQ_TLS") or "", "on, with RABBITMQ_CA_FILE")
    settings = RabbitSettings(
        host=values.get("RABBITMQ_HOST") or "localhost",
        port=_number(values, "RABBITMQ_PORT", 5671 if tls else 5672, 1, 65_535),
        queue=values.get("RABBITMQ_QUEUE") or QUEUE,
        username=values.get("RABBITMQ_USERNAME") or "guest",
        password=secret_setting(values, "RABBITMQ_PASSWORD", lambda file: Path(file).read_text("utf-8")) or "guest",
        vhost=values.get("RABBITMQ_VHOST") or "/",
        tls=tls,
        ca_file=ca_file,
        prefetch=_number(values, "RABBITMQ_PREFETCH", 1_000, 1, 65_535),
        metrics_port=_number(values, "RABBITMQ_METRICS_PORT", 0, 0, 65_535),
        metrics_host=values.get("RABBITMQ_METRICS_HOST") or "127.0.0.1",
    )
    if len(settings.queue.encode("utf-8", "replace")) > _LONGEST_QUEUE or settings.queue.startswith("amq."):
        allowed = f"a name of at most {_LONGEST_QUEUE} bytes that doesn't begin with amq."
        raise SettingError("RABBITMQ_QUEUE", settings.queue, allowed)
    return settings


def _number(values: Mapping[str, str], key: str, default: int, lowest: int, highest: int) -> int:
    given = values.get(key) or str(default)
    if not given.isascii() or not given.isdigit() or not lowest <= int(given) <= highest:
        raise SettingError(key, given, f"a whole number from {lowest} to {highest}")
    return int(given)


def _switch(values: Mapping[str, str], key: str) -> bool:
    given = values.get(key) or "off"
    if given not in ("on", "off"):
        raise SettingError(key, given, "on or off")
    return given == "on"
