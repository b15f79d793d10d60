"""What the job can be told, from the command line of ``flink run``; the environment gives the defaults."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from reccore.access import OPEN, KafkaAccess, redis_url_setting, zookeeper_auth_setting
from reccore.errors import SettingError
from reccore.event_types import EventTypes
from reccore.job import JOB_NAME
from reccore.metadata_numbers import DURATIONS, MetadataNumbers
from reccore.namespaces import Namespace
from reccore.redis_url import CLUSTER, parse_redis_url

SEVEN_DAYS_SECONDS = 604_800
MOST_TAGS_PER_USER = 1_000
MOST_PRODUCTS_PER_USER = 1_000
RECENT_EVENTS = 200
STATE_VERSION = 6
"""To be raised when the plan of the job changes so that it can't go on from an earlier state; it then counts anew."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Settings of the profile job; pickled into its functions, so plain values only."""

    kafka_bootstrap: str
    zookeeper_hosts: str
    redis_url: str = field(repr=False)
    event_types: EventTypes
    kafka_access: KafkaAccess = OPEN
    kafka_ca_certificates: str = field(default="", repr=False)
    zookeeper_auth: str = field(default="", repr=False)
    group_id: str = JOB_NAME
    job_name: str = JOB_NAME
    checkpoint_dir: str = ""
    """Empty: where the cluster's configuration says."""
    catalog_database: int = -1
    """Number of the Redis database that holds the catalogue; -1: that of ``redis_url``."""
    redis_namespace: str = ""
    """On a cluster: the name under which all is written beside the live keys; empty: these themselves."""
    start_from_ms: int = 0
    """Records of an earlier Kafka time are left out."""
    archived_prefix: str = ""
    """Not empty: each topic is read from the offset that the group has committed, and so is the one of its name with
    this in front, with the events of an archive that came before (see ``archived_records``)."""
    parallelism: int = 1
    checkpoint_interval_ms: int = 5_000
    deduplication_window_seconds: int = SEVEN_DAYS_SECONDS
    tag_expiry_seconds: int = 0
    most_tags_per_user: int = MOST_TAGS_PER_USER
    most_products_per_user: int = MOST_PRODUCTS_PER_USER
    """0: users' events are not counted by product."""
    metadata_numbers: MetadataNumbers = DURATIONS
    recent_events: int = RECENT_EVENTS
    mini_batch_ms: int = 20
    statistics_ms: int = 2_000
    mini_batch_rows: int = 50_000
    buffer_timeout_ms: int = 5
    bundle_ms: int = 5
    bundle_rows: int = 10_000
    redis_patience_seconds: int = 20

    @property
    def summed_numbers(self) -> tuple[str, ...]:
        """Names of the metadata numbers that are summed: with the counts by product."""
        return self.metadata_numbers.names if self.most_products_per_user else ()

    @property
    def catalog_url(self) -> str:
        """Where the catalogue is read."""
        if self.catalog_database < 0:
            return self.redis_url
        return parse_redis_url(self.redis_url).with_database(self.catalog_database)


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> JobSettings:
    """Read the job's settings; wrong ones end the program with a message that names them."""
    parser = _parser(environment)
    given = parser.parse_args(arguments)
    try:
        access = _access(given, environment)
        event_types = EventTypes.from_settings({name: getattr(given, name.lower()) for name in _TOPICS})
        metadata_numbers = MetadataNumbers.from_settings({"METADATA_NUMBERS": given.metadata_numbers})
        numbers: dict[str, Any] = {
            name: _whole_number(name, getattr(given, name), least) for name, least, _ in _NUMBERS
        }
    except SettingError as exc:
        parser.error(str(exc))
    places: dict[str, Any] = {"kafka_bootstrap": given.kafka_bootstrap, "zookeeper_hosts": given.zookeeper_hosts}
    for name, value in {**places, "redis_url": access["redis_url"]}.items():
        if not value:
            parser.error(f"--{name.replace('_', '-')} (or {name.upper()} in the environment) is required")
    names = {name: getattr(given, name) for name in _NAMES}
    settings = JobSettings(
        **places, **access, **names, event_types=event_types, metadata_numbers=metadata_numbers, **numbers
    )
    try:
        _ = settings.catalog_url
    except ValueError as exc:
        parser.error(f"--catalog-database {settings.catalog_database}: {exc}")
    if settings.redis_namespace:
        try:
            _ = Namespace(settings.redis_namespace)
        except ValueError as exc:
            parser.error(f"--redis-namespace: {exc}")
        if parse_redis_url(settings.redis_url).kind != CLUSTER:
            parser.error("--redis-namespace: only a Redis Cluster has namespaces; a server has further databases")
    return settings


def check_numbers(environment: Mapping[str, str]) -> None:
    """Refuse wrong numbers among the variables that are given. Raises :class:`SettingError`."""
    for name, least, _ in _NUMBERS:
        key = name.upper()
        if key in environment:
            _whole_number(key, environment[key], least)


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="profile_job.py", description="Counts events by user and tag and keeps the scores in Redis."
    )
    text = parser.add_argument_group("where things are").add_argument
    text("--kafka-bootstrap", default=environment.get("KAFKA_BOOTSTRAP"), help="host:port[,host:port]")
    text("--zookeeper-hosts", default=environment.get("ZOOKEEPER_HOSTS"), help="host:port[,host:port]")
    text("--redis-url", help="redis://host:port/db; where it holds a password, --redis-url-file is for it")
    text("--group-id", default=_DEFAULTS["group_id"], help="consumer group that shows the lag")
    text("--job-name", default=_DEFAULTS["job_name"], help="what the JobManager calls it")
    text("--checkpoint-dir", default=_DEFAULTS["checkpoint_dir"], help="URL; default: the cluster's")
    text("--redis-namespace", default="", help="on a Redis Cluster: write beside the live keys, under this name")
    text("--archived-prefix", default="", help="read the topics of these names, too; see archived_records.py")
    for name, what in _TOPICS.items():
        text(f"--{name.lower().replace('_', '-')}", default=environment.get(name, ""), help=what)
    text(
        "--metadata-numbers",
        default=environment.get("METADATA_NUMBERS", ""),
        help="members of metadata that are averaged by user and product (duration_ms), comma separated, or none",
    )
    access = parser.add_argument_group("how they are reached").add_argument
    for name, what in _ACCESS.items():
        access(f"--{name.lower().replace('_', '-')}", help=what)
    number = parser.add_argument_group("how it runs").add_argument
    for name, least, what in _NUMBERS:
        default = _DEFAULTS[name]
        value = environment.get(name.upper(), default)
        number(f"--{name.replace('_', '-')}", default=value, help=f"{what} (at least {least}; {default})")
    return parser


def _access(given: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, Any]:
    """Read how the servers are reached. No option takes a secret itself: everybody on the machine sees options."""
    chosen = dict(environment)
    for name in ("REDIS_URL", *_ACCESS):
        value: str | None = getattr(given, name.lower())
        if value is not None:  # it puts aside what the environment says, in either form
            chosen.pop(name.removesuffix("_FILE") if name.endswith("_FILE") else f"{name}_FILE", None)
            chosen[name] = value
    kafka = KafkaAccess.from_settings(chosen, _read_file)
    return {
        "redis_url": redis_url_setting(chosen, _read_file),
        "zookeeper_auth": zookeeper_auth_setting(chosen, _read_file),
        "kafka_access": kafka,
        "kafka_ca_certificates": _ca_certificates(kafka.ca_file),
    }


def _read_file(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")


def _ca_certificates(file: str) -> str:
    try:
        return _read_file(file).strip() if file else ""
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingError("KAFKA_SSL_CA_FILE", file, f"a PEM file that can be read ({exc})") from exc


_TOPICS = {
    "VIEW_TOPIC": "topic of the views (view-events)",
    "ADD_TO_CART_TOPIC": "topic of the products put into a cart (add-to-cart-events)",
    "PURCHASE_TOPIC": "topic of the purchases (purchase-events)",
    "DEAD_LETTER_TOPIC": "topic for what can't be applied (dead-letter-events)",
    "EXTRA_EVENT_TYPES": "further event types, name:topic[,name:topic]",
}
_ACCESS = {
    "REDIS_URL_FILE": "a file that holds the URL of Redis",
    "ZOOKEEPER_AUTH_FILE": "a file that holds user:password for ZooKeeper",
    "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512 (default), SCRAM-SHA-256 or PLAIN",
    "KAFKA_SASL_USERNAME": "who the job is to Kafka",
    "KAFKA_SASL_PASSWORD_FILE": "a file that holds the password for Kafka",
    "KAFKA_SSL_CA_FILE": "PEM certificates of who signs the brokers'",
}
_NAMES = ("group_id", "job_name", "checkpoint_dir", "archived_prefix", "redis_namespace")
_DEFAULTS = {each.name: each.default for each in fields(JobSettings)}
_NUMBERS: tuple[tuple[str, int, str], ...] = (
    ("parallelism", 1, "subtasks of each step"),
    ("checkpoint_interval_ms", 100, "time between checkpoints"),
    ("deduplication_window_seconds", 1, "how long an event id is remembered"),
    ("tag_expiry_seconds", 0, "forget a user's tag after so long without events, 0 never"),
    ("catalog_database", -1, "number of the Redis database that holds the catalogue, -1 that of the URL"),
    ("start_from_ms", 0, "leave out records of an earlier Kafka time, epoch ms"),
    ("most_tags_per_user", 1, "how many tags of a user are kept in Redis, those with the most events"),
    ("most_products_per_user", 0, "how many products of a user are kept in Redis with their events, 0 none"),
    ("recent_events", 0, "how many of a user's newest events are kept in Redis, 0 none"),
    ("mini_batch_ms", 1, "how long counts are gathered before they are passed on"),
    ("statistics_ms", 1, "how long product and tag statistics are gathered"),
    ("mini_batch_rows", 1, "how many rows are gathered at most"),
    ("buffer_timeout_ms", 0, "how long a network buffer waits to be filled"),
    ("bundle_ms", 1, "how long rows are gathered for a call of Python"),
    ("bundle_rows", 1, "how many rows a call of Python takes at most"),
    ("redis_patience_seconds", 1, "how long a batch waits for Redis before the job restarts"),
)


def _whole_number(key: str, value: object, least: int) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = least - 1
    if number < least:
        raise SettingError(key, value, f"a whole number of at least {least}")
    return number
