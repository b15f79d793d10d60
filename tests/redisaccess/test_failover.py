"""The master of the data is killed under reads and writes: readers are answered, and writing goes on by itself.

Redis replicates after it has answered, so what was acknowledged last may be gone. The job brings it back as it does
after any failure: from the last checkpoint. Here a writer that was refused begins anew, as Flink would begin it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from flink_jobs.connected_store import connected_store
from flink_jobs.errors import JobError
from flink_jobs.redis_store import RedisStore, WeightsStamp
from flink_jobs.user_rows import UserRows
from reccore import encoding, layout
from reccore.event_types import EventTypes
from reccore.weights import default_weights
from recsvc.app import create_app
from recsvc.memory import MemoryEventPublisher
from recsvc.services import build_services
from recsvc.settings import Settings
from recsvc.sweep import ScoreSweep
from tests.redis_modes import Ground, Server, cluster, watched_by_sentinels
from tests.waiting import wait_until
from zkconfig.memory import MemoryCoordination, MemoryServer

TYPES = EventTypes.from_settings({})
USERS = [f"u{number}" for number in range(30)]
STAMP = WeightsStamp(1, default_weights(TYPES).as_json().decode())
PATIENCE = 90.0


@pytest.fixture(params=["sentinel", "cluster"])
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Servers with a replica for each master; a test kills some."""
    with watched_by_sentinels() if request.param == "sentinel" else cluster(replicas=1) as started:
        yield started


class Job:
    """Counts up the views of everybody, again and again; a writer that fails begins anew at the last checkpoint."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.counts, self.checkpoints, self.restarts = 0, 0, 0
        self.failed: BaseException | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Job:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                store = connected_store(self._url, patience_seconds=PATIENCE)
                try:
                    store.open("test", 1, 0)
                    self._count_up(store)
                except JobError:
                    self.restarts += 1
                    self.counts = self.checkpoints
                finally:
                    store.close()
        except BaseException as exc:
            self.failed = exc
            raise

    def _count_up(self, store: RedisStore) -> None:
        while not self._ending.is_set():
            self.counts += 1
            row, text = encoding.encode_counts((self.counts, 0, 0), 7), str(self.counts)
            users = [UserRows(user, ["tag", row], ["tag", text], []) for user in USERS]
            assert store.commit_profiles(users, STAMP) is None
            if self.counts % 50 == 0:
                self.checkpoints = self.counts


class Readers:
    """Ask for recommendations all the time, each user in turn."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.statuses: dict[int, int] = {}
        self.degraded = 0
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(2)]

    def __enter__(self) -> Readers:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for each in self._threads:
            each.join(PATIENCE)

    def _run(self, number: int) -> None:
        http = self._app.test_client()
        while not self._ending.wait(0.005):
            number += 1
            answer = http.get(f"/recommend/{USERS[number % len(USERS)]}")
            self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
            self.degraded += bool(answer.json["degraded"])


def test_a_killed_master_is_replaced(ground: Ground) -> None:
    """No answer of 5xx; the writer finds the new master, and at rest everybody's counts are the last ones."""
    settings = Settings(event_types=TYPES, redis_url=ground.url, redis_timeout_ms=100, kafka_bootstrap="127.0.0.1:1")
    services = build_services(
        settings, coordination=MemoryCoordination(MemoryServer()), publisher=MemoryEventPublisher()
    )
    services.start()
    try:
        wait_until(services.redis_available, PATIENCE)
        with Readers(create_app(settings, services)) as readers, Job(ground.url) as job:
            wait_until(lambda: job.counts > 60, PATIENCE, what="the job writes")
            lost = _holder(ground, layout.profile_key("u0"))
            lost.kill()
            lost.process.wait(30)
            wait_until(lambda: _new_master(ground, lost), PATIENCE, what="another server is made the master")
            reached = job.counts
            wait_until(lambda: job.counts > reached + 60, PATIENCE, what="the job writes to it")
            wait_until(services.redis_available, PATIENCE, what="the service reads from it")
        assert job.failed is None
        assert set(readers.statuses) == {200}, (readers.statuses, readers.degraded)
        wait_until(lambda: _answers(services) == [float(job.counts)] * len(USERS), PATIENCE)
        with ground.client() as client:
            scores = [client.hget(layout.profile_key(user), "tag") for user in USERS]
            assert scores == [str(job.counts)] * len(USERS)
            sweep = ScoreSweep(client, sleep=lambda _: None)
            assert sweep.run(1, default_weights(TYPES)).users == len(USERS)
            sweep.close()
    finally:
        services.stop()


def _holder(ground: Ground, key: str) -> Server:
    """The server that holds a key as a master."""
    with ground.client() as client:
        place = client.server_of(key) if hasattr(client, "server_of") else client
        port = int(place.config_get("port")["port"])
    return next(each for each in ground.servers if each.port == port)


def _new_master(ground: Ground, lost: Server) -> bool:
    left = Ground(ground.url, [each for each in ground.servers if each is not lost])
    return left.masters() == (3 if len(ground.servers) > 2 else 1)


def _answers(services: Any) -> list[float]:
    found = [services.recommender.recommend(user)["tags"] for user in USERS]
    return [tags[0]["score"] if tags else -1.0 for tags in found]
