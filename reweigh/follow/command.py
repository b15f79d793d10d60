"""`reweigh follow`: builds the clients and runs until it is told to end."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from contextlib import closing

from recsvc.log_lines import LogSettings, begin_log
from redisaccess.clients import client_of
from reweigh.follow.follower import Follower
from reweigh.follow.settings import SETTINGS, follow_settings
from reweigh.follow.tables import tables_of
from reweigh.follow.writing import writing_of
from reweigh.kafka import EventProducer
from reweigh.metrics_page import served
from reweigh.settings import chosen_values, read_settings, values_and_own


def follow(options: argparse.Namespace) -> int:
    """Follow the topics until SIGTERM or Ctrl-C."""
    settings, (values, _) = read_settings(options.env), chosen_values(options.env)
    chosen = follow_settings(values_and_own(options.env, SETTINGS), settings.event_types)
    begin_log(LogSettings.from_settings({**values, **os.environ}))
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ending.set())
    bootstrap, access = settings.required("KAFKA_BOOTSTRAP"), settings.kafka_access
    client = client_of(
        settings.required("REDIS_URL"), decode_responses=True, socket_timeout=10.0, socket_connect_timeout=2.0
    )
    with closing(client):
        follower = Follower(
            {"bootstrap": bootstrap, "access": access.librdkafka_options()},
            writing_of(client),
            tables_of(chosen.topics),
            (lambda: EventProducer(bootstrap, access=access), settings.event_types.dead_letter_topic),
            ending,
        )
        with served(follower.metrics.registry, chosen.metrics_host, chosen.metrics_port, "FOLLOW_METRICS_PORT"):
            follower.run()
    return 0
