"""Where the servers are: from the environment, or from the ``stack.env`` that the local stack wrote."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from reccore.access import OPEN, KafkaAccess, api_keys_setting, redis_url_setting, zookeeper_auth_setting
from reccore.errors import SettingError
from reccore.event_types import EventTypes
from reccore.features import attributes_setting
from reccore.metadata_numbers import MetadataNumbers
from reweigh.errors import CommandError

ADDRESSES: Final = ("KAFKA_BOOTSTRAP", "ZOOKEEPER_HOSTS", "REDIS_URL", "FLINK_REST", "API_URL")
_NAMES_A_DEPLOYMENT: Final = (*ADDRESSES, "REDIS_URL_FILE", "RABBITMQ_HOST", "RABBITMQ_PORT")
STACK_ENV: Final = Path(".local") / "stack.env"


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of the command line; an address that is not set is empty."""

    kafka_bootstrap: str
    zookeeper_hosts: str
    redis_url: str = field(repr=False)
    flink_rest: str
    api_url: str
    api_key: str = field(repr=False)
    event_types: EventTypes
    deduplication_window_seconds: int
    tag_expiry_seconds: int
    """0: never."""
    most_tags_per_user: int
    most_products_per_user: int
    metadata_numbers: MetadataNumbers
    recent_events: int
    source: str
    """Where they were read, for messages."""
    feature_attributes: tuple[str, ...] = ()
    kafka_access: KafkaAccess = OPEN
    zookeeper_auth: str = field(default="", repr=False)

    def required(self, key: str) -> str:
        """Give an address by the name of its variable; :class:`CommandError` when it isn't set."""
        value = {
            "KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "ZOOKEEPER_HOSTS": self.zookeeper_hosts,
            "REDIS_URL": self.redis_url,
            "FLINK_REST": self.flink_rest,
            "API_URL": self.api_url,
        }[key]
        if not value:
            raise CommandError(f"{key} is not set in {self.source}: set it, or start the local stack with `make up`")
        return value


def chosen_values(
    env_file: Path | None = None, *, environment: Mapping[str, str] | None = None, start: Path | None = None
) -> tuple[Mapping[str, str], str]:
    """Give the values of the settings, and where they are from: one place, never mixed.

    So no command reads one deployment and writes another. That place is ``env_file`` when given; else the environment
    when it names any address; else the first ``.local/stack.env`` in ``start`` (by default the current folder) or a
    folder above it; else the environment. Raises :class:`CommandError` for an unreadable file.
    """
    environment = os.environ if environment is None else environment
    if env_file is None and not any(environment.get(key) for key in _NAMES_A_DEPLOYMENT):
        env_file = find_stack_env(start or Path.cwd())
    return (environment, "the environment") if env_file is None else (read_env_file(env_file), str(env_file))


def values_and_own(env_file: Path | None, names: Iterable[str]) -> dict[str, str]:
    """Give those values, and those of ``names`` that the environment sets, which go before: a process's own settings.

    Raises :class:`CommandError` for an unreadable file.
    """
    values, _ = chosen_values(env_file)
    return {**values, **{name: os.environ[name] for name in names if os.environ.get(name)}}


def read_settings(
    env_file: Path | None = None, *, environment: Mapping[str, str] | None = None, start: Path | None = None
) -> Settings:
    """Read the settings from the place that :func:`chosen_values` describes.

    Raises :class:`CommandError` for an unreadable file and :class:`SettingError` for a wrong value.
    """
    values, source = chosen_values(env_file, environment=environment, start=start)
    for key in ("FLINK_REST", "API_URL"):
        if values.get(key) and not values[key].startswith(("http://", "https://")):
            raise SettingError(key, values[key], "a URL that begins with http:// or https://")
    keys = api_keys_setting(values, _read_file)
    return Settings(
        kafka_bootstrap=values.get("KAFKA_BOOTSTRAP", ""),
        zookeeper_hosts=values.get("ZOOKEEPER_HOSTS", ""),
        redis_url=redis_url_setting(values, _read_file),
        flink_rest=values.get("FLINK_REST", "").rstrip("/"),
        api_url=values.get("API_URL", "").rstrip("/"),
        api_key=keys[0] if keys else "",
        event_types=EventTypes.from_settings(values),
        deduplication_window_seconds=_number(values, "DEDUPLICATION_WINDOW_SECONDS", 7 * 24 * 3600),
        tag_expiry_seconds=_number(values, "TAG_EXPIRY_SECONDS", 0),
        most_tags_per_user=_number(values, "MOST_TAGS_PER_USER", 1_000),
        most_products_per_user=_number(values, "MOST_PRODUCTS_PER_USER", 1_000),
        metadata_numbers=MetadataNumbers.from_settings(values),
        feature_attributes=attributes_setting(values),
        recent_events=_number(values, "RECENT_EVENTS", 200),
        source=source,
        kafka_access=KafkaAccess.from_settings(values, _read_file),
        zookeeper_auth=zookeeper_auth_setting(values, _read_file),
    )


def _number(values: Mapping[str, str], key: str, default: int) -> int:
    given = values.get(key) or str(default)
    if not given.isascii() or not given.isdigit():
        raise SettingError(key, given, "a whole number >= 0")
    return int(given)


def _read_file(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")


def find_stack_env(start: Path) -> Path | None:
    """Look for ``.local/stack.env`` in ``start`` and every folder above it."""
    folders = [start.resolve(), *start.resolve().parents]
    return next((folder / STACK_ENV for folder in folders if (folder / STACK_ENV).is_file()), None)


def read_env_file(file: Path) -> dict[str, str]:
    """Read ``KEY=VALUE`` lines; blank lines and those that begin with ``#`` are left out."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandError(f"{file} can't be read: {exc}") from exc
    pairs = (line.partition("=") for line in map(str.strip, lines) if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def export_settings(environment: MutableMapping[str, str] | None = None, start: Path | None = None) -> None:
    """Set what ``stack.env`` says as environment variables, by the same rule: only when they name no address yet."""
    environment = os.environ if environment is None else environment
    if not any(environment.get(key) for key in _NAMES_A_DEPLOYMENT):
        file = find_stack_env(start or Path.cwd())
        environment.update(read_env_file(file) if file else {})
