"""What the service and the sweeper read from the environment; the only place where they do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from reccore.errors import SettingError
from reccore.event_types import EventTypes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Addresses, keys and limits of one process. Times are in seconds unless named otherwise."""

    event_types: EventTypes
    zookeeper_hosts: str = "127.0.0.1:2181"
    redis_url: str = "redis://127.0.0.1:6379/0"
    kafka_bootstrap: str = "127.0.0.1:9092"
    config_api_key: str | None = None
    tag_expiry_seconds: int = 0
    redis_timeout_ms: int = 100
    remembered_users: int = 10_000
    most_in_flight: int = 2_000
    ingest_timeout_ms: int = 900


def settings_from(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. Raises ``SettingError`` naming key, value and what is allowed."""
    env = os.environ if environment is None else environment

    def text(key: str, default: str) -> str:
        return env.get(key) or default

    return Settings(
        event_types=EventTypes.from_settings(env),
        zookeeper_hosts=text("ZOOKEEPER_HOSTS", "127.0.0.1:2181"),
        redis_url=_redis_url(text("REDIS_URL", "redis://127.0.0.1:6379/0")),
        kafka_bootstrap=text("KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
        config_api_key=env.get("CONFIG_API_KEY") or None,
        tag_expiry_seconds=_number(env, "TAG_EXPIRY_SECONDS", 0, 0, 3_000_000_000),
        redis_timeout_ms=_number(env, "API_REDIS_TIMEOUT_MS", 100, 5, 100),
        remembered_users=_number(env, "API_REMEMBERED_USERS", 10_000, 0, 1_000_000),
        most_in_flight=_number(env, "API_MOST_IN_FLIGHT", 2_000, 1, 100_000),
        ingest_timeout_ms=_number(env, "API_INGEST_TIMEOUT_MS", 900, 100, 30_000),
    )


def _number(env: Mapping[str, str], key: str, default: int, lowest: int, highest: int) -> int:
    given = env.get(key) or str(default)
    allowed = f"a whole number from {lowest} to {highest}"
    try:
        number = int(given)
    except ValueError as exc:
        raise SettingError(key, given, allowed) from exc
    if not lowest <= number <= highest:
        raise SettingError(key, given, allowed)
    return number


def _redis_url(url: str) -> str:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise SettingError("REDIS_URL", url, "redis://host:port/database, rediss://… or unix://…")
    return url
