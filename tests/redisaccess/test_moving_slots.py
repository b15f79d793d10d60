"""Slots move from node to node while the job writes, the service reads and the sweep is on its way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from deploy.local.ports import HOST
from flink_jobs.connected_store import connected_store
from flink_jobs.redis_store import WeightsStamp
from flink_jobs.user_rows import UserRows
from reccore import encoding, layout
from reccore.event_types import EventTypes
from reccore.slots import slot
from reccore.weights import default_weights
from recsvc.sweep import ScoreSweep
from recsvc.user_store import RedisUserStore
from tests.redis_modes import Ground, Server, cluster
from tests.waiting import wait_until

WEIGHTS = default_weights(EventTypes.from_settings({}))
STAMP = WeightsStamp(1, WEIGHTS.as_json().decode())
USERS = [f"u{number}" for number in range(12)]


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """A cluster."""
    with cluster() as started:
        yield started


def move(ground: Ground, number: int, half_way: Any = None) -> None:
    """Move one slot to the next node, as `redis-cli --cluster reshard` does it; ``half_way`` is called in between."""
    names = {each.port: each.admin().execute_command("CLUSTER MYID") for each in ground.servers}
    with ground.client() as client:
        at = int(client.slots()[number].rpartition(":")[2])
    source = next(each for each in ground.servers if each.port == at)
    target: Server = ground.servers[(ground.servers.index(source) + 1) % len(ground.servers)]
    with source.admin() as old, target.admin() as new:
        new.execute_command("CLUSTER SETSLOT", number, "IMPORTING", names[source.port])
        old.execute_command("CLUSTER SETSLOT", number, "MIGRATING", names[target.port])
        while keys := old.execute_command("CLUSTER GETKEYSINSLOT", number, 1):
            old.execute_command("MIGRATE", HOST, target.port, "", 0, 5_000, "REPLACE", "KEYS", *keys)
            if half_way:
                half_way()
        for each in (new, old):
            each.execute_command("CLUSTER SETSLOT", number, "NODE", names[target.port])


def rows(count: int) -> list[UserRows]:
    """What the job writes for everybody."""
    row = ["tag", encoding.encode_counts((count, 0, 0), 1)]
    return [UserRows(user, row, ["tag", str(count)], []) for user in USERS]


def test_writer_and_reader_follow(ground: Ground) -> None:
    """A user is read while the keys are on their way, and nobody's last count is missing."""
    service = RedisUserStore(ground.url, timeout_ms=5_000)
    service.start()
    ending, written, failed = threading.Event(), [0], list[BaseException]()

    def write() -> None:
        try:
            with closing(connected_store(ground.url, patience_seconds=60)) as store:
                store.open("test", 1, 0)
                while not ending.is_set():
                    assert store.commit_profiles(rows(written[0] + 1), STAMP) is None
                    written[0] += 1
        except BaseException as exc:
            failed.append(exc)
            raise

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: written[0] > 3 or failed, 60)
        for user in USERS[:4]:
            move(ground, slot(layout.profile_key(user)))
        reached = written[0]
        wait_until(lambda: written[0] > reached + 3 or failed, 60)
    finally:
        ending.set()
        writer.join(60)
    assert not failed
    move(ground, slot(layout.profile_key("u0")), half_way=lambda: read_everybody(service, written[0]))
    read_everybody(service, written[0])
    service.stop()


def read_everybody(service: RedisUserStore, count: int) -> None:
    """All of them have this count, and Redis counts as reachable."""
    assert [each.rows["tag"] for each in service.users(USERS)] == [f"{count},0,0;1"] * len(USERS)
    assert service.available


def test_a_node_that_lacks_the_scripts(ground: Ground) -> None:
    """As one that was just made a master: the writer gives it the scripts, and keeps its place."""
    with closing(connected_store(ground.url, patience_seconds=60)) as store:
        store.open("test", 1, 0)
        for action in (store._take, lambda: store.commit_profiles(rows(7), STAMP)):
            with ground.servers[1].admin() as admin:
                admin.script_flush()
            action()
    with ground.client() as client:
        assert [client.hget(layout.profile_key(user), "tag") for user in USERS] == ["7"] * len(USERS)


def test_a_pass_is_not_complete_when_a_slot_has_moved(ground: Ground) -> None:
    """Since its users may have gone from a node that was still to be scanned to one that was scanned already."""
    with closing(connected_store(ground.url, patience_seconds=60)) as store:
        store.open("test", 1, 0)
        store.commit_profiles(rows(1), STAMP)
    moved = list[int]()

    def meddle(_: float) -> None:
        if not moved:
            moved.append(slot(layout.TOTALS))
            move(ground, moved[0])

    with ground.client() as client:
        with closing(ScoreSweep(client, sleep=meddle)) as sweep:
            assert not sweep.run(1, WEIGHTS).complete
        with closing(ScoreSweep(client, sleep=lambda _: None)) as sweep:
            assert sweep.run(1, WEIGHTS).complete
