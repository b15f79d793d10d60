"""The clients of one process, built together, started after the fork, and handed to the application."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reccore.features import FeatureRules
from reccore.totals import Totals
from recsvc import metrics
from recsvc.catalogue import Catalogue
from recsvc.confluent_publisher import ConfluentEventPublisher
from recsvc.detailed import Detailed
from recsvc.features import UserFeatures
from recsvc.guests import Guests
from recsvc.ingest import EventPublisher, Ingest
from recsvc.interests import InterestProfiles
from recsvc.job_group import JobGroup
from recsvc.kafka_publisher import KafkaEventPublisher
from recsvc.models.feed import ModelFeed
from recsvc.models.model import Model
from recsvc.models.store import ModelStore
from recsvc.ops.log_offsets import KafkaLogOffsets
from recsvc.ops.look import Looks
from recsvc.ops.parts import Watched, looks_at
from recsvc.own_writes import OwnWrites
from recsvc.ratings import Ratings
from recsvc.recent_events import RecentEvents
from recsvc.recommender import Recommender
from recsvc.settings import KAFKA_CLIENTS, Settings
from recsvc.settled_records import KafkaSettledRecords
from recsvc.statistics_feed import StatisticsFeed
from recsvc.stored_figures import StoredFigures, StoredFiguresReader
from recsvc.totals_reader import TotalsReader
from recsvc.user_store import RedisUserStore
from recsvc.weights_record import read_weights_record
from zkconfig.coordination import Coordination
from zkconfig.documents import RANKING, Ranking
from zkconfig.kazoo_client import KazooCoordination
from zkconfig.publisher import DocumentPublisher
from zkconfig.watcher import DocumentWatcher, InForce, WeightsWatcher, seed_from_fields

log = logging.getLogger(__name__)

ROLE = "api"


@dataclass(frozen=True, slots=True)
class Configuration:
    """One document of the allow-list: followed by ``watcher``, changed through ``publisher``."""

    watcher: DocumentWatcher[Any]
    publisher: DocumentPublisher[Any]


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes use."""

    recommender: Recommender
    own_writes: OwnWrites
    recent_events: RecentEvents
    catalogue: Catalogue
    features: UserFeatures
    guests: Guests
    detailed: Detailed
    ingest: Ingest
    ratings: Ratings
    interests: InterestProfiles
    configurations: dict[str, Configuration]
    weights: WeightsWatcher
    statistics_loaded: Callable[[], bool]
    redis_available: Callable[[], bool]
    totals: Callable[[], Totals | None]
    model: Callable[[], Model | None]
    ops: Looks
    stored: Callable[[], StoredFigures | None]
    starts: tuple[Callable[[], None], ...] = ()
    stops: tuple[Callable[[], None], ...] = field(default=())

    def start(self) -> None:
        """Start every thread and connection of this process; call it after any fork."""
        for start in self.starts:
            start()

    def stop(self) -> None:
        """End them, in reverse order."""
        for stop in reversed(self.stops):
            stop()


def configurations_of(coordination: Coordination, weights: WeightsWatcher) -> dict[str, Configuration]:
    """The allow-list: a name that is not in here does not exist."""
    ranking: DocumentWatcher[Ranking] = DocumentWatcher(coordination, RANKING, presence=weights.presence)
    return {
        watcher.kind.name: Configuration(watcher, DocumentPublisher(coordination, watcher.kind, watcher))
        for watcher in (weights, ranking)
    }


def build_services(
    settings: Settings,
    *,
    coordination: Coordination | None = None,
    publisher: EventPublisher | None = None,
) -> Services:
    """Build the real clients; nothing connects before ``start``. A client that is given takes its own's place."""
    zookeeper = coordination or KazooCoordination(settings.zookeeper_hosts, auth=settings.zookeeper_auth)
    weights = WeightsWatcher(zookeeper, settings.event_types, role=ROLE)
    configurations = configurations_of(zookeeper, weights)
    store = RedisUserStore(settings.redis_url, timeout_ms=settings.redis_timeout_ms)
    feed = StatisticsFeed(settings.redis_url, width=len(settings.event_types.names))
    totals = TotalsReader(settings.redis_url, timeout_ms=settings.redis_timeout_ms)
    stored = StoredFiguresReader(settings.redis_url, timeout_ms=settings.redis_timeout_ms)
    kafka = publisher or _publisher(settings)
    group = JobGroup(settings.kafka_bootstrap, settings.job_group, settings.kafka_access)
    settled = KafkaSettledRecords(group)
    ranking = configurations["ranking"].watcher
    models = ModelFeed(ModelStore(settings.redis_url))
    recommender = Recommender(
        store,
        weights,
        feed,
        ranking=lambda: ranking.in_force.document,
        scorer=lambda: models.scorer,
        tag_expiry_seconds=settings.tag_expiry_seconds,
        remembered_users=settings.remembered_users,
    )

    def seed_weights() -> None:
        # The newest weights that Redis knows of stand in while ZooKeeper can't be asked.
        record = read_weights_record(settings.redis_url, timeout_ms=settings.redis_timeout_ms)
        seed = seed_from_fields(record, settings.event_types)
        if seed is not None:
            weights.offer(*seed)

    ops = looks_at(
        Watched(
            totals=totals.read,
            written_ms=totals.written_ms,
            measured=stored.measured,
            statistics=feed,
            weights=weights,
            redis_available=store.ping,
            offsets=KafkaLogOffsets(group),
            event_types=settings.event_types,
            flink_rest=settings.flink_rest,
        )
    )
    watchers = [each.watcher for each in configurations.values()]
    for watcher in watchers:
        show_metrics(watcher)
    return Services(
        recommender=recommender,
        own_writes=OwnWrites(
            store,
            settled,
            settings.event_types,
            most_tags=settings.most_tags_per_user,
            most_products=settings.most_products_per_user,
        ),
        recent_events=RecentEvents(store, settings.event_types),
        catalogue=Catalogue(store, feed, settings.event_types.names),
        guests=Guests(feed, settings.event_types),
        detailed=Detailed(recommender, store, feed),
        features=UserFeatures(
            store,
            feed,
            FeatureRules(settings.event_types.names, settings.metadata_numbers.names),
            attributes=settings.feature_attributes,
            tag_expiry_seconds=settings.tag_expiry_seconds,
        ),
        ingest=Ingest(kafka, settings.event_types),
        ratings=Ratings(store, kafka, settings.followed.ratings),
        interests=InterestProfiles(store, feed, weights, kafka, settings.followed.user_behavior, settings.event_types),
        configurations=configurations,
        weights=weights,
        statistics_loaded=lambda: feed.loaded,
        redis_available=store.ping,
        totals=totals.read,
        model=lambda: None if models.scorer is None else models.scorer.model,
        ops=ops,
        stored=stored.read,
        starts=(seed_weights, store.start, feed.start, models.start, *(each.start for each in watchers)),
        stops=(
            totals.stop,
            stored.stop,
            store.stop,
            feed.stop,
            models.stop,
            *(each.stop for each in watchers),
            kafka.stop,
            settled.stop,
            ops.stop,
        ),
    )


def _publisher(settings: Settings) -> EventPublisher:
    chosen = ConfluentEventPublisher if settings.kafka_client == KAFKA_CLIENTS[0] else KafkaEventPublisher
    return chosen(
        settings.kafka_bootstrap,
        most_in_flight=settings.most_in_flight,
        timeout_ms=settings.ingest_timeout_ms,
        access=settings.kafka_access,
    )


def show_metrics(watcher: DocumentWatcher[Any]) -> None:
    """Have what a watcher takes and refuses appear in the metrics."""
    if watcher.kind.name == "weights":
        began_ms = int(time.time() * 1000)  # as ZooKeeper rounds it

        def changed(in_force: InForce[Any]) -> None:
            metrics.weights_version.set(in_force.version)
            metrics.worker_weights_version.set(in_force.version)
            if in_force.changed_ms >= began_ms:  # what was changed before could not be used sooner
                metrics.weights_delay.observe(max(0.0, time.time() - in_force.changed_ms / 1000))

        changed(watcher.in_force)

        watcher.on_change.append(changed)
    rejected = metrics.rejected_documents.labels(watcher.kind.name)
    watcher.on_reject.append(rejected.inc)
