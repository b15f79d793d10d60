"""What can be set about a local stack. Given once it is remembered in the home folder; given empty it is forgotten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.home import Home
from flink_jobs.settings import check_numbers
from reccore.errors import SettingError
from reccore.event_types import EventTypes
from reccore.features import attributes_setting
from reccore.followed_topics import SETTINGS as FOLLOWED_TOPICS
from reccore.followed_topics import FollowedTopics
from reccore.metadata_numbers import MetadataNumbers
from reccore.redis_url import parse_redis_url
from recsvc.log_lines import LogSettings

PORTS = (
    "zookeeper",
    "kafka",
    "kafka_controller",
    "redis",
    "flink",
    "flink_rpc",
    "jobmanager_metrics",
    "taskmanager_metrics",
    "api",
    "rabbitmq",
    "bridge_metrics",
    "archive_metrics",
    "archive_ratings_metrics",
    "follower_metrics",
    "prometheus",
    "alertmanager",
    "node_exporter",
    "canary_metrics",
)
# Settings of job and service that the stack hands on as they are.
HANDED_ON = (
    "EXTRA_EVENT_TYPES",
    "VIEW_TOPIC",
    "ADD_TO_CART_TOPIC",
    "PURCHASE_TOPIC",
    "DEAD_LETTER_TOPIC",
    *FOLLOWED_TOPICS,
    "TAG_EXPIRY_SECONDS",
    "MOST_TAGS_PER_USER",
    "MOST_PRODUCTS_PER_USER",
    "METADATA_NUMBERS",
    "FEATURE_ATTRIBUTES",
    "RECENT_EVENTS",
    "DEDUPLICATION_WINDOW_SECONDS",
    "ARCHIVE_URL",
    "ARCHIVE_RATINGS_URL",
    "ARCHIVE_STATE",
    "ARCHIVE_FLUSH_ROWS",
    "ARCHIVE_FLUSH_SECONDS",
    "LOG_FORMAT",
    "LOG_LEVEL",
)

REDIS_URL = "STACK_REDIS_URL"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes and speeds; each is set by the variable `REWEIGH_<NAME IN CAPITALS>`. Memory is in MiB."""

    zookeeper_heap: int = 128
    kafka_heap: int = 512
    jobmanager_memory: int = 1024
    taskmanager_memory: int = 2048
    slots: int = 2
    parallelism: int = 1
    partitions: int = 4
    checkpoint_interval_ms: int = 5000
    alert_speed: int = 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that was chosen: sizes, fixed ports (0 to 65535, by the names in `PORTS`), and what is handed on."""

    sizes: Sizes
    ports: Mapping[str, int]
    handed_on: Mapping[str, str]
    redis_url: str = ""
    """Of a Redis that is no part of the stack; empty: its own."""

    @property
    def event_types(self) -> EventTypes:
        """The event types as job and service read them from the same settings."""
        try:
            return EventTypes.from_settings(self.handed_on)
        except SettingError as exc:
            raise StackError(str(exc)) from exc

    @property
    def followed(self) -> FollowedTopics:
        """The topics that are followed into Redis."""
        try:
            return FollowedTopics.from_settings(self.handed_on, self.event_types)
        except SettingError as exc:
            raise StackError(str(exc)) from exc

    @property
    def topics(self) -> tuple[str, ...]:
        """Names of the event topics in the order of the event types; the dead-letter topic is not among them."""
        return tuple(self.event_types.by_topic)

    @property
    def dead_letter_topic(self) -> str:
        """Name of the topic for what could not be applied."""
        return self.event_types.dead_letter_topic


def remembered_file(home: Home) -> Path:
    """Return the file in which the settings of this home are kept."""
    return home.path / "settings.json"


def read_settings(home: Home, environment: Mapping[str, str]) -> Settings:
    """Return what `environment` says, then what this home remembers, then the defaults.

    Raises:
        StackError: A value can't be used; named with what is allowed.
    """
    given = {**_remembered(home), **{key: environment[key] for key in _known() if key in environment}}
    given = {key: value for key, value in given.items() if value.strip()}
    sizes = {
        field.name: _whole_number(_size_key(field.name), given[_size_key(field.name)], 1, 1_000_000)
        for field in fields(Sizes)
        if _size_key(field.name) in given
    }
    ports = {
        name: _whole_number(_port_key(name), given[_port_key(name)], 1, 65535)
        for name in PORTS
        if _port_key(name) in given
    }
    settings = Settings(
        sizes=Sizes(**sizes),
        ports=ports,
        handed_on={key: given[key] for key in HANDED_ON if key in given},
        redis_url=_redis_url(given.get(REDIS_URL, "")),
    )
    if settings.sizes.parallelism > settings.sizes.slots:
        raise StackError(
            f"REWEIGH_PARALLELISM={settings.sizes.parallelism}: at most REWEIGH_SLOTS={settings.sizes.slots}"
        )
    _ = settings.followed  # wrong names are refused before anything starts
    _check(settings.handed_on)
    return settings


def remember_settings(home: Home, environment: Mapping[str, str]) -> None:
    """Keep what `environment` gives, so that a later `up` without it starts the same stack."""
    given = {**_remembered(home), **{key: environment[key] for key in _known() if key in environment}}
    kept = {key: value for key, value in sorted(given.items()) if value.strip()}
    remembered_file(home).write_text(json.dumps(kept, indent=1) + "\n")


def _remembered(home: Home) -> dict[str, str]:
    file = remembered_file(home)
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise StackError(f"{file} is not JSON ({error}); remove it") from error
    return {str(key): str(value) for key, value in found.items()}


def _check(handed_on: Mapping[str, str]) -> None:
    """Refuse here what the job or the service would refuse when it starts."""
    try:
        check_numbers(handed_on)
        MetadataNumbers.from_settings(handed_on)
        attributes_setting(handed_on)
        LogSettings.from_settings(handed_on)
    except SettingError as exc:
        raise StackError(str(exc)) from exc


def _known() -> tuple[str, ...]:
    sizes = tuple(_size_key(field.name) for field in fields(Sizes))
    return (*sizes, *(_port_key(name) for name in PORTS), *HANDED_ON, REDIS_URL)


def _redis_url(text: str) -> str:
    if "@" in text:
        raise StackError(f"{REDIS_URL} (not shown): a URL without a password, since everybody may read the settings")
    if text:
        try:
            parse_redis_url(text)
        except ValueError as exc:
            raise StackError(f"{REDIS_URL}={text!r}: allowed is {exc}") from exc
    return text


def _size_key(name: str) -> str:
    return f"REWEIGH_{name.upper()}"


def _port_key(name: str) -> str:
    return f"REWEIGH_{name.upper()}_PORT"


def _whole_number(key: str, value: str, lowest: int, highest: int) -> int:
    try:
        number = int(value)
    except ValueError:
        number = lowest - 1
    if not lowest <= number <= highest:
        raise StackError(f"{key}={value!r}: a whole number from {lowest} to {highest} is allowed")
    return number
