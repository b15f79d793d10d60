"""The command: connects everything that a verification needs, and shows how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from reweigh.archive.log import Log
from reweigh.archive.settings import ArchiveSettings
from reweigh.archive.store import open_store
from reweigh.errors import CommandError
from reweigh.progress import Bars
from reweigh.settings import Settings
from reweigh.verify.archived import ArchivedLog
from reweigh.verify.log import EventLog
from reweigh.verify.report import sums
from reweigh.verify.run import Outcome, Plan, Verification, Weights
from reweigh.verify.stored import Stored
from zkconfig.cli import connected
from zkconfig.publisher import WeightsPublisher

_SWITCH_SECONDS: Final = 0.0005
"""A tenth of Python's own: the threads that read Kafka and Redis wait this long for each other after each answer."""


def verify(
    settings: Settings,
    group: str,
    window_seconds: int | None,
    archive: ArchiveSettings | None = None,
    namespace: str = "",
) -> Outcome:
    """Verify the deployment that ``settings`` names; progress goes to standard error.

    With an archive, what that holds is read there, and from Kafka only what came after. With a namespace, what was
    rebuilt on a cluster under that name is compared instead of what is live.
    """
    plan = Plan(
        topics=settings.event_types.topics,
        group=group,
        window_seconds=window_seconds or settings.deduplication_window_seconds,
        tag_expiry_seconds=settings.tag_expiry_seconds,
        most_tags_per_user=settings.most_tags_per_user,
        most_products_per_user=settings.most_products_per_user,
        metadata_numbers=settings.metadata_numbers.names,
        recent_events=settings.recent_events,
        every_record=archive is None,
    )
    sys.setswitchinterval(_SWITCH_SECONDS)
    access = settings.kafka_access.librdkafka_options()
    topics = EventLog(settings.required("KAFKA_BOOTSTRAP"), plan.topics.values(), access)
    log = topics if archive is None else _archived(topics, archive)
    stored = Stored(settings.required("REDIS_URL"), namespace)
    try:
        with _weights(settings) as weights, Bars() as bars:
            outcome = Verification(plan, log, stored, weights, bars.tell).run()
        if not namespace:
            _note(stored, outcome)
        return outcome
    finally:
        stored.close()


def _note(stored: Stored, outcome: Outcome) -> None:
    """Leave the outcome where the service's metrics find it; a Redis user who may only read goes without."""
    try:
        stored.note_outcome(len(outcome.comparison.differences), sums(outcome).read, time.time_ns() // 1_000_000)
    except CommandError as exc:
        print(f"reweigh: the metrics of the service will not show this outcome: {exc}", file=sys.stderr)


def _archived(topics: EventLog, archive: ArchiveSettings) -> ArchivedLog:
    store = open_store(archive.url)
    return ArchivedLog(topics, store, Log(store).read())


@contextmanager
def _weights(settings: Settings) -> Iterator[Weights]:
    """Ask ZooKeeper for the weights in force, as long as the context lasts."""
    with connected(settings.required("ZOOKEEPER_HOSTS"), settings.zookeeper_auth) as coordination:
        publisher = WeightsPublisher(coordination, settings.event_types)

        def ask() -> tuple[Mapping[str, float], int]:
            found = publisher.get()
            return found.document.as_dict(), found.version

        yield ask
