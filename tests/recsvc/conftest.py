"""The service on stand-ins, and on real servers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

with warnings.catch_warnings():  # kafka-python 3.0 reads its own files in a way that Python 3.11 deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # noqa: F401

from deploy.local.stack import Stack
from reccore.canary import Measured
from reccore.event_types import EventTypes
from reccore.features import FeatureRules
from reccore.totals import Totals
from recsvc.app import create_app
from recsvc.catalogue import Catalogue
from recsvc.detailed import Detailed
from recsvc.features import UserFeatures
from recsvc.guests import Guests
from recsvc.ingest import Ingest
from recsvc.interests import InterestProfiles
from recsvc.memory import (
    MemoryEventPublisher,
    MemoryLogOffsets,
    MemorySettledRecords,
    MemoryStatistics,
    MemoryUserStore,
)
from recsvc.models.scorer import Scorer
from recsvc.ops.parts import Watched, looks_at
from recsvc.own_writes import OwnWrites
from recsvc.ratings import Ratings
from recsvc.recent_events import RecentEvents
from recsvc.recommender import Recommender
from recsvc.services import Services, configurations_of
from recsvc.settings import Settings
from recsvc.statistics import Collected
from tests.servers import empty_redis, fresh_stack
from tests.waiting import wait_until
from zkconfig.memory import MemoryCoordination, MemoryServer
from zkconfig.watcher import WeightsWatcher

TYPES = EventTypes.from_settings({})


@dataclass
class Bench:
    """The service and everything behind it, in memory."""

    http: Any
    """A ``FlaskClient``, by whose types each answer might have no JSON."""
    users: MemoryUserStore
    statistics: MemoryStatistics
    kafka: MemoryEventPublisher
    zookeeper: MemoryServer
    weights: WeightsWatcher
    settled: MemorySettledRecords
    clock: list[float]
    services: Services
    scorers: list[Scorer]
    """The last one ranks; none before there is one."""
    totals: list[Totals | None]
    """The last ones are those in Redis; None while that is away."""
    offsets: MemoryLogOffsets
    measured: list[Measured | None]
    """The last one is what the canary measured last."""

    def put_weights(self, **weights: float) -> Any:
        """Change the weights over HTTP; gives the answer."""
        return self.http.put("/api/config/weights", json=weights, headers={"X-API-Key": "key"})


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A service on stand-ins, with a key and a tag expiry of 100 s."""
    settings = Settings(event_types=TYPES, config_api_keys=("key",), tag_expiry_seconds=100)
    server, clock = MemoryServer(), [1_000.0]
    session = MemoryCoordination(server)
    weights = WeightsWatcher(session, TYPES, role="api")
    users, statistics, kafka = MemoryUserStore(), MemoryStatistics(Collected(3)), MemoryEventPublisher()
    settled = MemorySettledRecords(kafka)
    scorers: list[Scorer] = []
    totals: list[Totals | None] = [None]
    measured: list[Measured | None] = [None]
    offsets = MemoryLogOffsets()
    configurations = configurations_of(session, weights)
    ranking = configurations["ranking"].watcher
    recommender = Recommender(
        users,
        weights,
        statistics,
        ranking=lambda: ranking.in_force.document,
        scorer=lambda: scorers[-1] if scorers else None,
        tag_expiry_seconds=settings.tag_expiry_seconds,
        now=lambda: clock[0],
    )
    services = Services(
        recommender=recommender,
        own_writes=OwnWrites(users, settled, TYPES),
        recent_events=RecentEvents(users, TYPES),
        guests=Guests(statistics, TYPES),
        detailed=Detailed(recommender, users, statistics),
        features=UserFeatures(
            users,
            statistics,
            FeatureRules(TYPES.names, ("duration_ms", "scroll")),
            attributes=("brand",),
            tag_expiry_seconds=settings.tag_expiry_seconds,
            now=lambda: clock[0],
        ),
        catalogue=Catalogue(users, statistics, TYPES.names),
        ingest=Ingest(kafka, TYPES),
        ratings=Ratings(users, kafka, settings.followed.ratings),
        interests=InterestProfiles(
            users, statistics, weights, kafka, settings.followed.user_behavior, TYPES, draw=lambda _: 0
        ),
        configurations=configurations,
        weights=weights,
        statistics_loaded=lambda: statistics.loaded,
        redis_available=users.ping,
        totals=lambda: totals[-1],
        model=lambda: scorers[-1].model if scorers else None,
        ops=looks_at(
            Watched(
                totals=lambda: totals[-1],
                written_ms=lambda: 1_700_000_000_500,
                measured=lambda: measured[-1],
                statistics=statistics,
                weights=weights,
                redis_available=users.ping,
                offsets=offsets,
                event_types=TYPES,
                flink_rest="",
            ),
            patience_seconds=60,
        ),
        stored=lambda: None,
        starts=tuple(each.watcher.start for each in configurations.values()),
        stops=(weights.stop, lambda: services.ops.stop()),
    )
    services.start()
    wait_until(lambda: weights.connected)
    app = create_app(settings, services)
    yield Bench(
        app.test_client(),
        users,
        statistics,
        kafka,
        server,
        weights,
        settled,
        clock,
        services,
        scorers,
        totals,
        offsets,
        measured,
    )
    services.stop()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """ZooKeeper, Kafka and Redis, started once."""
    with fresh_stack("zookeeper", "kafka", "redis") as started:
        yield started


@pytest.fixture
def database(stack: Stack) -> Iterator[redis.Redis]:
    """Redis, empty before and after."""
    with empty_redis(stack.addresses.redis_url) as client:
        yield client
