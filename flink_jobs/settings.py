"""What the job can be told, from the command line of ``flink run``; the environment gives the defaults."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from reccore.errors import SettingError
from reccore.event_types import EventTypes

JOB_NAME = "reweigh-profile"
SEVEN_DAYS_SECONDS = 604_800
MOST_TAGS_PER_USER = 1_000
STATE_VERSION = 3
"""To be raised when the plan of the job changes so that it can't go on from an earlier state; it then counts anew."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Settings of the profile job; pickled into its functions, so plain values only."""

    kafka_bootstrap: str
    zookeeper_hosts: str
    redis_url: str
    event_types: EventTypes
    group_id: str = JOB_NAME
    job_name: str = JOB_NAME
    checkpoint_dir: str = ""
    """Empty: where the cluster's configuration says."""
    start_from_ms: int = 0
    """Records of an earlier Kafka time are left out."""
    parallelism: int = 1
    checkpoint_interval_ms: int = 2_000
    deduplication_window_seconds: int = SEVEN_DAYS_SECONDS
    tag_expiry_seconds: int = 0
    most_tags_per_user: int = MOST_TAGS_PER_USER
    mini_batch_ms: int = 20
    statistics_ms: int = 2_000
    mini_batch_rows: int = 50_000
    buffer_timeout_ms: int = 5
    bundle_ms: int = 5
    bundle_rows: int = 10_000
    redis_patience_seconds: int = 20


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> JobSettings:
    """Read the job's settings; wrong ones end the program with a message that names them."""
    parser = argparse.ArgumentParser(
        prog="profile_job.py", description="Counts events by user and tag and keeps the scores in Redis."
    )
    text = parser.add_argument_group("where things are").add_argument
    text("--kafka-bootstrap", default=environment.get("KAFKA_BOOTSTRAP"), help="host:port[,host:port]")
    text("--zookeeper-hosts", default=environment.get("ZOOKEEPER_HOSTS"), help="host:port[,host:port]")
    text("--redis-url", default=environment.get("REDIS_URL"), help="redis://[[user]:password@]host:port/db")
    text("--group-id", default=_DEFAULTS["group_id"], help="consumer group that shows the lag")
    text("--job-name", default=_DEFAULTS["job_name"], help="what the JobManager calls it")
    text("--checkpoint-dir", default=_DEFAULTS["checkpoint_dir"], help="URL; default: the cluster's")
    for name, what in _TOPICS.items():
        text(f"--{name.lower().replace('_', '-')}", default=environment.get(name, ""), help=what)
    number = parser.add_argument_group("how it runs").add_argument
    for name, least, what in _NUMBERS:
        default = _DEFAULTS[name]
        value = environment.get(name.upper(), default)
        number(f"--{name.replace('_', '-')}", default=value, help=f"{what} (at least {least}; {default})")
    given = parser.parse_args(arguments)
    for name in ("kafka_bootstrap", "zookeeper_hosts", "redis_url"):
        if not getattr(given, name):
            parser.error(f"--{name.replace('_', '-')} (or {name.upper()} in the environment) is required")
    try:
        event_types = EventTypes.from_settings({name: getattr(given, name.lower()) for name in _TOPICS})
        numbers = {name: _whole_number(name, getattr(given, name), least) for name, least, _ in _NUMBERS}
    except SettingError as exc:
        parser.error(str(exc))
    return JobSettings(
        kafka_bootstrap=given.kafka_bootstrap,
        zookeeper_hosts=given.zookeeper_hosts,
        redis_url=given.redis_url,
        group_id=given.group_id,
        job_name=given.job_name,
        checkpoint_dir=given.checkpoint_dir,
        event_types=event_types,
        **numbers,
    )


_TOPICS = {
    "VIEW_TOPIC": "topic of the views (view-events)",
    "ADD_TO_CART_TOPIC": "topic of the products put into a cart (add-to-cart-events)",
    "PURCHASE_TOPIC": "topic of the purchases (purchase-events)",
    "DEAD_LETTER_TOPIC": "topic for what can't be applied (dead-letter-events)",
    "EXTRA_EVENT_TYPES": "further event types, name:topic[,name:topic]",
}
_DEFAULTS = {field.name: field.default for field in fields(JobSettings)}
_NUMBERS: tuple[tuple[str, int, str], ...] = (
    ("parallelism", 1, "subtasks of each step"),
    ("checkpoint_interval_ms", 100, "time between checkpoints"),
    ("deduplication_window_seconds", 1, "how long an event id is remembered"),
    ("tag_expiry_seconds", 0, "forget a user's tag after so long without events, 0 never"),
    ("start_from_ms", 0, "leave out records of an earlier Kafka time, epoch ms"),
    ("most_tags_per_user", 1, "how many tags of a user are kept in Redis, those with the most events"),
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
