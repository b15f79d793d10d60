"""Everybody with a history, for lists that are computed ahead: interrupted, started again, slots on the move."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from reccore import layout
from reccore.slots import slot
from redisaccess.cluster import ClusterClient
from redisaccess.scanning import servers_of
from redisaccess.standing import standing
from reweigh.errors import CommandError
from reweigh.publishing import everybody
from reweigh.publishing.everybody import Everybody
from tests.redis_modes import Ground
from tests.redisaccess.test_moving_slots import move

USERS = [f"u{number}" for number in range(700)] + ["a{b}c", "ü"]
ON_A_CLUSTER = pytest.mark.parametrize("ground", ["cluster"], indirect=True, scope="package")


@pytest.fixture(autouse=True)
def users(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have a history, are found some at a time, and there are keys of others."""
    monkeypatch.setattr(everybody, "_KEYS_A_SCAN", 20)
    monkeypatch.setattr(everybody, "_USERS_A_BATCH", 7)
    for user in USERS:
        client.hset(layout.counts_key(user), "t", "1,0,0;1")
        client.hset(layout.profile_key(user), "t", "1")
    client.hset(layout.PRODUCT_STATISTICS, "p", "[]")


def test_all_are_found_once(client: Any) -> None:
    """Whoever has a history, and nobody else."""
    found = Counter(user for _, batch in Everybody(client, restart=False).batches() for user in batch)
    assert found == dict.fromkeys(USERS, 1)


def test_an_interrupted_run_is_gone_on_with(client: Any) -> None:
    """From wherever it was: nobody is left out, and all of it is not done again; unless that is asked for."""
    found, rounds = Counter[str](), 0
    while True:
        run = Everybody(client, restart=False)
        rounds += 1
        for number, (position, batch) in enumerate(run.batches()):
            if number == 30:  # is killed before this was sent
                break
            found.update(batch)
            run.note(position, run.published + len(found))
        else:
            break
    assert set(found) == set(USERS)
    assert rounds > 2
    assert found.total() < 2 * len(USERS)
    assert Everybody(client, restart=False).published > 0
    assert Everybody(client, restart=True).published == 0
    client.hset(layout.PUBLISHING, "server", "another")
    assert Everybody(client, restart=False).published == 0
    run.finish()
    assert not client.exists(layout.PUBLISHING)


def neighbours(ground: Ground, client: Any) -> tuple[str, str]:
    """The master that is scanned first, and the one whose slots would go there."""
    first = next(iter(servers_of(client)))
    names = [f"127.0.0.1:{each.port}" for each in ground.servers]
    return first, names[names.index(first) - 1]


@ON_A_CLUSTER
def test_who_moves_behind_the_scan_is_found(ground: Ground, client: Any) -> None:
    """From a master that is still to be scanned to the one that was scanned first; the others are not found again."""
    assert isinstance(client, ClusterClient)
    first, before = neighbours(ground, client)
    owners = client.slots()
    moving = [user for user in USERS if owners[slot(layout.counts_key(user))] == before][:3]
    found = Counter[str]()
    for position, batch in Everybody(client, restart=False).batches():
        if position.master != first:
            while moving:
                move(ground, slot(layout.counts_key(moving.pop())))
        found.update(batch)
    assert found == dict.fromkeys(USERS, 1)


@ON_A_CLUSTER
def test_there_and_back_is_noticed(ground: Ground, client: Any) -> None:
    """Though in the end each slot is where it was."""
    before = standing(client)
    for _ in range(len(ground.servers)):
        move(ground, 5)
    after = standing(client)
    assert before.is_settled
    assert after.is_settled
    assert before != after


@ON_A_CLUSTER
def test_a_slot_that_stays_half_way(ground: Ground, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell whether all were found: it says so, and where it was is kept for the next time."""
    monkeypatch.setattr(everybody, "_SETTLING_SECONDS", 0.3)
    told = list[str]()

    def publish() -> None:
        if told:
            return
        with pytest.raises(CommandError) as refused:
            list(Everybody(client, restart=False).batches())
        told.append(str(refused.value))

    move(ground, slot(layout.counts_key("u0")), half_way=publish)
    assert told == ["slots of the cluster are moving, so somebody may be missing: run it again"]
    assert {user for _, batch in Everybody(client, restart=False).batches() for user in batch} == set(USERS)
