"""The documented users of Redis on a cluster: with what is documented besides, each does its work there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.connected_store import connected_store
from flink_jobs.crowded_users import ITEMS, TAGS
from flink_jobs.redis_store import WeightsStamp
from flink_jobs.user_rows import UserRows
from reccore import layout
from reccore.event_types import EventTypes
from reccore.interests import InterestProfile
from reccore.namespaces import Namespace
from reccore.ratings import Rating
from reccore.recommendation_lists import RecommendationList
from reccore.row_cap import RowCap
from reccore.weights import default_weights
from recsvc.models.store import ModelStore
from recsvc.statistics_feed import StatisticsFeed
from recsvc.stored_figures import StoredFiguresReader
from recsvc.sweep import ScoreSweep
from recsvc.user_store import RedisUserStore
from redisaccess.clients import client_of
from reweigh.follow.catalogue import Catalogue
from reweigh.follow.interests import InterestTable
from reweigh.follow.ratings import RatingTable
from reweigh.follow.recommendations import RecommendationTable
from reweigh.follow.table import Batch, Judged, Table
from reweigh.follow.writing import writing_of
from reweigh.namespaces import Namespaces
from reweigh.products import CatalogProduct
from reweigh.publishing.everybody import Everybody
from reweigh.publishing.lists import Basis, ListMaker
from tests.models.making import made_up
from tests.redis_modes import Ground, cluster
from tests.security.test_redis import acl_lines
from tests.waiting import wait_until
from zkconfig.documents import Ranking
from zkconfig.watcher import WeightsInForce

SCALING = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"
TYPES = EventTypes.from_settings({})
WEIGHTS = default_weights(TYPES)
STAMP = WeightsStamp(1, WEIGHTS.as_json().decode())


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """A cluster with the documented users."""
    besides = dict(re.findall(r"^ACL SETUSER (\S+) (.+)$", SCALING.read_text(encoding="utf-8"), re.MULTILINE))
    with cluster() as started:
        for server in started.servers:
            with server.admin() as admin:
                for line in acl_lines():
                    user = line.split()[2]
                    if user != "default":  # by which the tests start
                        admin.execute_command(*line.split(), *besides[user].split())
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
    with client_of(url(ground, "follow"), decode_responses=True) as client:
        place, writing = ("any", 0), writing_of(client)
        batch: list[tuple[Table, list[Any]]] = [
            (Catalogue("any"), [CatalogProduct("p1", "One", (), None, None), "p2"]),
            (RatingTable("any"), [Rating(None, "a{b}", f"p{number}", 4.0, number) for number in range(1_002)]),
            (InterestTable("any"), [InterestProfile("x", 5, 1, {"shoes": 1.0}, 7)]),
            (RecommendationTable("any"), [RecommendationList("x", 5, 1, 1, []), "y"]),
        ]
        for upto in (5, 6):
            tables = [(table, [Judged(place, upto, each) for each in records]) for table, records in batch]
            assert writing.write(Batch({place: upto + 1}, tables), writing.positions())
    with client_of(url(ground, "publish"), decode_responses=True) as client:
        users = Everybody(client, restart=False)
        found = list(users.batches())
        assert {user for _, batch in found for user in batch} >= {"x", "y", "z"}
        users.note(found[-1][0], 3)
        assert Everybody(client, restart=False).published == 3
        users.finish()
    maker = ListMaker(Basis(url(ground, "publish"), TYPES, WeightsInForce(WEIGHTS, 2, known=True), Ranking(), 0, 5))
    assert [key for key, _ in maker.messages(["x", "nobody"])] == [b"x", b"nobody"]
    service = RedisUserStore(url(ground, "service"), timeout_ms=5_000)
    feed = StatisticsFeed(url(ground, "service"), width=3)
    figures = StoredFiguresReader(url(ground, "service"), timeout_ms=5_000)
    feed.start()
    try:
        assert service.user("x").rows == {"a": "2,0,0;1"}
        assert service.ping()
        assert figures.read() is not None
        wait_until(lambda: feed.loaded)
    finally:
        service.stop()
        feed.stop()
        figures.stop()


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
