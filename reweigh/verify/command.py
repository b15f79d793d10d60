"""The command: connects everything that a verification needs, and shows how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from reweigh.progress import Bars
from reweigh.settings import Settings
from reweigh.verify.log import EventLog
from reweigh.verify.run import Outcome, Plan, Verification, Weights
from reweigh.verify.stored import Stored
from zkconfig.cli import connected
from zkconfig.publisher import WeightsPublisher


def verify(settings: Settings, group: str, window_seconds: int | None) -> Outcome:
    """Verify the deployment that ``settings`` names; progress goes to standard error."""
    plan = Plan(
        topics=settings.event_types.topics,
        group=group,
        window_seconds=window_seconds or settings.deduplication_window_seconds,
        tag_expiry_seconds=settings.tag_expiry_seconds,
        most_tags_per_user=settings.most_tags_per_user,
    )
    access = settings.kafka_access.librdkafka_options()
    log = EventLog(settings.required("KAFKA_BOOTSTRAP"), plan.topics.values(), access)
    stored = Stored(settings.required("REDIS_URL"))
    try:
        with _weights(settings) as weights, Bars() as bars:
            return Verification(plan, log, stored, weights, bars.tell).run()
    finally:
        stored.close()


@contextmanager
def _weights(settings: Settings) -> Iterator[Weights]:
    """Ask ZooKeeper for the weights in force, as long as the context lasts."""
    with connected(settings.required("ZOOKEEPER_HOSTS"), settings.zookeeper_auth) as coordination:
        publisher = WeightsPublisher(coordination, settings.event_types)

        def ask() -> tuple[Mapping[str, float], int]:
            found = publisher.get()
            return found.document.as_dict(), found.version

        yield ask
