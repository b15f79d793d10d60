"""The documented users of Redis on a cluster: with what is documented besides, each does its work there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flink_jobs.connected_store import connected_store
from flink_jobs.crowded_users import ITEMS, TAGS
from flink_jobs.redis_store import WeightsStamp
from flink_jobs.user_rows import UserRows
from reccore import layout
from reccore.event_types import EventTypes
from reccore.namespaces import Namespace
from reccore.row_cap import RowCap
from reccore.weights import default_weights
from recsvc.models.store import ModelStore
from recsvc.statistics_feed import StatisticsFeed
from recsvc.sweep import ScoreSweep
from recsvc.user_store import RedisUserStore
from redisaccess.clients import client_of
from reweigh.namespaces import Namespaces
from tests.models.making import made_up
from tests.redis_modes import Ground, cluster
from tests.security.test_redis import acl_lines
from tests.waiting import wait_until

SCALING = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"
WEIGHTS = default_weights(EventTypes.from_settings({}))
STAMP = WeightsStamp(1, WEIGHTS.as_json().decode())


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """A cluster with the documented users."""
    (said,) = re.findall(r"each user needs `([^`]+)`, and job and sweeper the keys `([^`]+)`", SCALING.read_text())
    commands, keys = said
    with cluster() as started:
        for server in started.servers:
            with server.admin() as admin:
                for line in acl_lines():
                    if "default" in line:  # by which the tests start
                        continue
                    writes = keys if "reweigh-job" in line or "reweigh-sweeper" in line else ""
                    admin.execute_command(*line.split(), *commands.split(), *writes.split())
        yield started


def url(ground: Ground, user: str) -> str:
    """The cluster, as that user."""
    return ground.url.replace("://", f"://reweigh-{user}:PASSWORD@")


def test_each_does_its_work(ground: Ground) -> None:
    """The job writes and drops, the sweeper sweeps, a training publishes, the service reads all of it."""
    caps = {TAGS: RowCap(1), ITEMS: RowCap(1)}
    with closing(connected_store(url(ground, "job"), patience_seconds=30, caps=caps)) as job:
        job.open("test", 1, 0)
        job.open("test", 1, 0)
        rows = ["a", "2,0,0;1", "b", "1,0,0;1"]
        assert job.commit_profiles([UserRows(user, rows, ["a", "2", "b", "1"], ["p"]) for user in "xyz"], STAMP) is None
        job.commit_statistics(layout.TOTALS, "", {"read:view-events": "5"})
        assert job.read_catalogue(["p"]) == ("", [None])
    with client_of(url(ground, "sweeper"), decode_responses=True) as client, closing(ScoreSweep(client)) as sweep:
        sweep.raise_version(2, WEIGHTS)
        assert sweep.run(2, WEIGHTS).complete
    with closing(ModelStore(url(ground, "train"), chunk_bytes=3_000)) as models:
        for _ in range(3):
            models.publish(made_up())
    service = RedisUserStore(url(ground, "service"), timeout_ms=5_000)
    feed = StatisticsFeed(url(ground, "service"), width=3)
    feed.start()
    try:
        assert service.user("x").rows == {"a": "2,0,0;1"}
        assert service.ping()
        wait_until(lambda: feed.loaded)
    finally:
        service.stop()
        feed.stop()


def test_a_wrong_password_is_refused(ground: Ground) -> None:
    """As Redis being away."""
    service = RedisUserStore(ground.url.replace("://", "://reweigh-service:wrong@"), timeout_ms=5_000)
    assert not service.ping()


def test_replay(ground: Ground) -> None:
    """Its user, as documented, exchanges what a job has rebuilt that may write beside the live keys."""
    (line,) = re.findall(r"^ACL SETUSER reweigh-replay .*$", SCALING.read_text(), re.MULTILINE)
    for server in ground.servers:
        with server.admin() as admin:
            admin.execute_command(*line.split())
            admin.execute_command("ACL", "SETUSER", "reweigh-job", "~rebuilt:*")
    with closing(Namespaces(url(ground, "replay"))) as sides:
        sides.prepare()
        for name, count in (("", 1), (sides.job_options[1], 2)):
            job = connected_store(url(ground, "job"), patience_seconds=30, namespace=Namespace(name))
            with closing(job):
                job.open("test", 1, 0)
                rows = ["a", f"{count},0,0;1"]
                job.commit_profiles([UserRows("x", rows, ["a", str(count)], ["p"], rows)], STAMP)
                job.commit_statistics(layout.TOTALS, "", {"read:view-events": str(count)})
        assert (layout.TOTALS, {"read:view-events": "1"}, {"read:view-events": "2"}) in list(sides.pairs())
        assert sides.read_by_rebuild() == 2
        assert sides.unfinished() is None
        sides.begin(Path("/savepoint"))
        sides.finish(lambda *_: None)
    service = RedisUserStore(url(ground, "service"), timeout_ms=5_000)
    assert service.user("x").rows == {"a": "2,0,0;1"}
