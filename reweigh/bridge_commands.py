"""`reweigh bridge …`: what its commands take, and what each does."""

from __future__ import annotations

import argparse
import json
import logging
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

from reccore.errors import RejectedEvent
from recsvc.log_lines import begin_log
from reweigh.arguments import add_command, add_env, add_group
from reweigh.errors import need
from reweigh.lines import AUTO, FORMATS, file_format, read_rows
from reweigh.settings import chosen_values, read_settings

EXTRA: Final = "rabbitmq"
_KAFKA_MS: Final = 5_000

_BRIDGE: Final = """Consume events from a durable queue of RabbitMQ and carry them to Kafka: each to the topic of its
type, keyed by user id.

A message is acknowledged once Kafka has acknowledged its event; one that breaks the contract goes to the queue with
.dead at the end of its name, with the reason in its headers. Ends on SIGTERM or Ctrl-C once nothing is left in hand."""

_SEND: Final = """Send the events of a file to RabbitMQ, persistent and confirmed. Files are read as by `reweigh load`.

An event without an event_id gets one made of its line number and content: the same file sent twice counts once (within
the job's deduplication window). Exit code 1: lines were rejected, or not everything was confirmed."""


def add_bridge_commands(subparsers: Any) -> None:
    """Describe `bridge rabbitmq` and `bridge send`."""
    commands = add_group(subparsers, "bridge", "events through RabbitMQ")
    add_env(add_command(commands, "rabbitmq", "carry a queue's events to Kafka", bridge, _BRIDGE))
    send = add_command(commands, "send", "send the events of a file to the queue", send_file, _SEND)
    send.add_argument("file", type=Path, metavar="FILE", help="Parquet, JSON lines or CSV, these also gzipped (.gz)")
    send.add_argument("--format", choices=FORMATS, default=AUTO)
    send.add_argument(
        "--namespace", default="", metavar="TEXT", help="part of made ids: keeps equal lines of two files distinct"
    )
    add_env(send)


def bridge(options: argparse.Namespace) -> int:
    """`reweigh bridge rabbitmq`."""
    running, handling = need("reweigh.rabbitmq.bridge", EXTRA), need("reweigh.rabbitmq.handling", EXTRA)
    publishers = need("recsvc.confluent_publisher", EXTRA)
    confirms = need("reweigh.rabbitmq.confirms", EXTRA)
    _begin_log()
    settings = read_settings(options.env)
    rabbit = _rabbit_settings(options.env)
    publisher = publishers.ConfluentEventPublisher(
        settings.required("KAFKA_BOOTSTRAP"),
        most_in_flight=2 * rabbit.prefetch,
        timeout_ms=_KAFKA_MS,
        access=settings.kafka_access,
    )
    dead_letters = confirms.ConfirmedPublisher(rabbit, rabbit.dead_letter_queue)
    carrying = running.Bridge(rabbit, handling.Handler(publisher, dead_letters, settings.event_types))

    def end(_number: int, _frame: FrameType | None) -> None:
        carrying.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    page = need("reweigh.metrics_page", EXTRA).served(
        need("prometheus_client", EXTRA).REGISTRY, rabbit.metrics_host, rabbit.metrics_port, "RABBITMQ_METRICS_PORT"
    )
    try:
        with page:
            carrying.run()
    finally:
        dead_letters.close()
        publisher.stop()
    return 0


def send_file(options: argparse.Namespace) -> int:
    """`reweigh bridge send`: exit code 1 when lines were rejected."""
    sending, loading = need("reweigh.rabbitmq.sender", EXTRA), need("reweigh.loading", "data")
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    settings = read_settings(options.env)
    to_record = need("reweigh.event_files", EXTRA).reader(
        fmt := file_format(options.file, options.format), settings.event_types, namespace=options.namespace
    )
    rejected: Counter[str] = Counter()

    def events(bar: Any) -> Iterator[dict[str, object]]:
        for row in read_rows(options.file, fmt):
            bar.update(row.position - bar.n)
            try:
                yield json.loads(to_record(row).value)
            except RejectedEvent as exc:
                rejected[str(exc.reason)] += 1
                if rejected.total() <= loading.SHOWN:
                    bar.write(f"line {row.number}: {exc}")

    with (
        sending.EventSender(settings=_rabbit_settings(options.env), event_types=settings.event_types) as sender,
        loading.progress_bar(options.file) as bar,
    ):
        count = sender.send_batch(events(bar))
    print(f"{count:,} events sent")
    if rejected:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in rejected.most_common())
        print(f"{rejected.total():,} lines rejected, not sent: {reasons}")
    return 1 if rejected else 0


def _rabbit_settings(env_file: Path | None) -> Any:
    values, _ = chosen_values(env_file)
    return need("reweigh.rabbitmq.settings", EXTRA).rabbit_settings(values)


def _begin_log() -> None:
    begin_log()
    logging.getLogger("recsvc.confluent_publisher").setLevel(logging.CRITICAL)  # the bridge tells of it in one line
