"""What the service and the sweeper read from the environment; the only place where they do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from reccore.access import OPEN, KafkaAccess, api_keys_setting, redis_url_setting, zookeeper_auth_setting
from reccore.errors import SettingError
from reccore.event_types import EventTypes
from reccore.features import attributes_setting
from reccore.followed_topics import FollowedTopics
from reccore.job import JOB_NAME
from reccore.metadata_numbers import DURATIONS, MetadataNumbers
from recsvc.rate_limit import Rate

_LOCAL_REDIS: Final = "redis://127.0.0.1:6379/0"
_CONFIG_LIMIT: Final = "1200/minute"
MOST_ROWS_PER_USER: Final = 1_000
"""The job's own defaults."""
KAFKA_CLIENTS: Final = ("confluent", "kafka-python")
"""What events are sent with; the first unless another is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Addresses, keys and limits of one process. Times are in seconds unless named otherwise."""

    event_types: EventTypes
    followed: FollowedTopics = field(default_factory=FollowedTopics)
    zookeeper_hosts: str = "127.0.0.1:2181"
    zookeeper_auth: str = field(default="", repr=False)
    redis_url: str = field(default=_LOCAL_REDIS, repr=False)
    kafka_bootstrap: str = "127.0.0.1:9092"
    flink_rest: str = ""
    """URL of the JobManager, "" where nobody is to be asked how the job does."""
    kafka_access: KafkaAccess = OPEN
    job_group: str = JOB_NAME
    """The consumer group under which the job commits its offsets."""
    config_api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Any of them will do; without any, changes need none."""
    read_limit: Rate | None = None
    ingest_limit: Rate | None = None
    config_limit: Rate | None = None
    trusted_proxies: int = 0
    tag_expiry_seconds: int = 0
    most_tags_per_user: int = MOST_ROWS_PER_USER
    most_products_per_user: int = MOST_ROWS_PER_USER
    """How many rows of a user the job keeps at most; 0: it does not count by product."""
    metadata_numbers: MetadataNumbers = DURATIONS
    feature_attributes: tuple[str, ...] = ()
    """Attributes of products by whose values a user's events are counted."""
    redis_timeout_ms: int = 100
    remembered_users: int = 10_000
    kafka_client: str = KAFKA_CLIENTS[0]
    most_in_flight: int = 20_000
    ingest_timeout_ms: int = 900
    sweeper_heartbeat_file: str = ""
    """Touched every second by a sweeper that works; empty for none."""


def settings_from(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. Raises ``SettingError`` naming key, value and what is allowed."""
    env = os.environ if environment is None else environment

    def text(key: str, default: str) -> str:
        return env.get(key) or default

    event_types = EventTypes.from_settings(env)
    return Settings(
        event_types=event_types,
        followed=FollowedTopics.from_settings(env, event_types),
        zookeeper_hosts=text("ZOOKEEPER_HOSTS", "127.0.0.1:2181"),
        zookeeper_auth=zookeeper_auth_setting(env, _read_file),
        redis_url=redis_url_setting(env, _read_file, _LOCAL_REDIS),
        kafka_bootstrap=text("KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
        kafka_access=KafkaAccess.from_settings(env, _read_file),
        flink_rest=_url(env, "FLINK_REST"),
        job_group=text("API_JOB_GROUP", JOB_NAME),
        config_api_keys=api_keys_setting(env, _read_file),
        read_limit=_rate(env, "API_READ_LIMIT", ""),
        ingest_limit=_rate(env, "API_INGEST_LIMIT", ""),
        config_limit=_rate(env, "API_CONFIG_LIMIT", _CONFIG_LIMIT),
        trusted_proxies=whole_number(env, "API_TRUSTED_PROXIES", 0, 0, 10),
        tag_expiry_seconds=whole_number(env, "TAG_EXPIRY_SECONDS", 0, 0, 3_000_000_000),
        most_tags_per_user=whole_number(env, "MOST_TAGS_PER_USER", MOST_ROWS_PER_USER, 1, 1_000_000_000),
        most_products_per_user=whole_number(env, "MOST_PRODUCTS_PER_USER", MOST_ROWS_PER_USER, 0, 1_000_000_000),
        metadata_numbers=MetadataNumbers.from_settings(env),
        feature_attributes=attributes_setting(env),
        redis_timeout_ms=whole_number(env, "API_REDIS_TIMEOUT_MS", 100, 5, 100),
        remembered_users=whole_number(env, "API_REMEMBERED_USERS", 10_000, 0, 1_000_000),
        kafka_client=_choice(env, "API_KAFKA_CLIENT", KAFKA_CLIENTS),
        most_in_flight=whole_number(env, "API_MOST_IN_FLIGHT", 20_000, 1, 1_000_000),
        ingest_timeout_ms=whole_number(env, "API_INGEST_TIMEOUT_MS", 900, 100, 30_000),
        sweeper_heartbeat_file=text("SWEEPER_HEARTBEAT_FILE", ""),
    )


def whole_number(env: Mapping[str, str], key: str, default: int, lowest: int, highest: int) -> int:
    """Read a whole number. Raises ``SettingError`` where it is none, or out of its range."""
    given = env.get(key) or str(default)
    allowed = f"a whole number from {lowest} to {highest}"
    try:
        number = int(given)
    except ValueError as exc:
        raise SettingError(key, given, allowed) from exc
    if not lowest <= number <= highest:
        raise SettingError(key, given, allowed)
    return number


def _choice(env: Mapping[str, str], key: str, allowed: tuple[str, ...]) -> str:
    given = env.get(key) or allowed[0]
    if given not in allowed:
        raise SettingError(key, given, f"one of {', '.join(allowed)}")
    return given


def _url(env: Mapping[str, str], key: str) -> str:
    given = (env.get(key) or "").rstrip("/")
    if given and (not given.startswith(("http://", "https://")) or not urlsplit(given).netloc):
        raise SettingError(key, given, "a URL that begins with http:// or https://")
    return given


def _rate(env: Mapping[str, str], key: str, default: str) -> Rate | None:
    given = env.get(key) or default
    if given in ("", "none"):
        return None
    try:
        return Rate.parse(given)
    except ValueError as exc:
        raise SettingError(key, given, f"{exc}, or none") from exc


def _read_file(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")
