"""Changing the weights: compared and set, with its history, and answered truthfully."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from kazoo.client import KazooClient

from reccore.event_types import EventTypes
from reccore.weights import Weights, parse_weights
from tests.waiting import wait_until
from zkconfig.coordination import Coordination, Create, SetData
from zkconfig.errors import ConfigUnavailable, VersionMismatch
from zkconfig.history import read_history
from zkconfig.kazoo_client import KazooCoordination
from zkconfig.memory import MemoryCoordination, MemoryServer
from zkconfig.presence import read_members
from zkconfig.publisher import NEWEST_KEPT, WeightsPublisher
from zkconfig.watcher import WeightsWatcher

TYPES = EventTypes.from_settings({})
PATH = "/config/recommendation/weights"
HISTORY = "/config/recommendation/history/weights"
Connect = Callable[[], Coordination]


def weights(view: float) -> Weights:
    """Valid weights, told apart by one number."""
    return parse_weights({"view": view, "add_to_cart": 3, "purchase": 5}, TYPES)


def history(session: Coordination) -> list[float]:
    """The accepted documents, oldest first, as their weight of a view."""
    nodes = session.read_many([f"{HISTORY}/{name}" for name in session.children(HISTORY)])
    return [json.loads(node.data)["document"]["view"] for node in nodes if node is not None]


def test_versions_grow_and_name_the_document(connect: Connect) -> None:
    """Each accepted document has a greater version, the one that readers name it by; the history holds them all."""
    session = connect()
    watcher = WeightsWatcher(connect(), TYPES, role="api")
    watcher.start()
    wait_until(lambda: watcher.connected)
    wait_until(lambda: len(read_members(session)) == 1)
    publisher = WeightsPublisher(session, TYPES)
    publisher.ensure_default()
    versions = [publisher.get().version]
    for view in (2, 3, 4):
        done = publisher.put(weights(view), versions[-1])
        assert publisher.get().version == done.version == watcher.in_force.version
        assert (done.acknowledged, done.members) == (1, 1)
        versions.append(done.version)
    assert versions == sorted(set(versions))
    assert history(session) == [2, 3, 4]


def test_a_stale_version_is_refused(connect: Connect) -> None:
    """The document in force is named in the refusal, and stays."""
    publisher = WeightsPublisher(connect(), TYPES)
    publisher.ensure_default()
    old = publisher.get().version
    new = publisher.put(weights(2)).version
    for stale in (old, new + 1, [], [old, 0]):
        with pytest.raises(VersionMismatch) as refused:
            publisher.put(weights(3), stale)
        assert refused.value.current == new
    assert publisher.put(weights(3), [old, new]).version > new


def test_the_comparison_is_with_the_document_in_force(connect: Connect) -> None:
    """While the node holds nonsense or is gone, the last good document is what a condition is compared with."""
    session = connect()
    publisher = WeightsPublisher(session, TYPES)
    publisher.ensure_default()
    version = publisher.put(weights(2)).version
    node = session.read(PATH)
    assert node is not None
    bad = session.commit([SetData(PATH, b"nonsense")])
    assert publisher.get().version == version
    with pytest.raises(VersionMismatch):
        publisher.put(weights(3), bad)
    version = publisher.put(weights(3), version).version
    assert version > bad
    session.delete(PATH)
    assert publisher.get().version == version
    assert publisher.put(weights(4), version).version > version


def test_of_racing_changes_with_one_version_one_wins(connect: Connect) -> None:
    """In each round exactly one of several is made; the history holds the winners and nobody else."""
    sessions = [connect() for _ in range(3)]
    publishers = [WeightsPublisher(session, TYPES) for session in sessions]
    publishers[0].ensure_default()
    winners: list[float] = []

    def race(number: int, publisher: WeightsPublisher, version: int, start: threading.Barrier) -> float | None:
        start.wait()
        try:
            publisher.put(weights(number), version, acknowledge_seconds=0)
        except VersionMismatch:
            return None
        return number

    with ThreadPoolExecutor(3) as pool:
        for turn in range(15):
            version, start = publishers[0].get().version, threading.Barrier(3)
            races = [pool.submit(race, 10 * turn + i, each, version, start) for i, each in enumerate(publishers)]
            won = [number for each in races if (number := each.result()) is not None]
            assert len(won) == 1
            winners += won
    assert history(sessions[0]) == winners


def test_unconditional_changes_all_come_through(connect: Connect) -> None:
    """Without a condition a race is repeated, so that each change is made once."""
    sessions = [connect() for _ in range(3)]
    publishers = [WeightsPublisher(session, TYPES) for session in sessions]
    publishers[0].ensure_default()
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(publishers[i % 3].put, weights(i + 1), None, acknowledge_seconds=0) for i in range(24)]
        versions = [job.result().version for job in jobs]
    assert len(set(versions)) == 24
    assert sorted(history(sessions[0])) == [i + 1 for i in range(24)]


def test_the_history_is_capped() -> None:
    """The newest hundred are kept."""
    session = MemoryCoordination(MemoryServer())
    session.start()
    publisher = WeightsPublisher(session, TYPES)
    for view in range(1, NEWEST_KEPT + 6):
        publisher.put(weights(view))
    assert history(session) == list(range(6, NEWEST_KEPT + 6))
    session.stop()


def test_a_lost_answer_is_looked_up() -> None:
    """A change whose answer got lost is found in the history and not made again."""
    server = MemoryServer()
    session = MemoryCoordination(server)
    session.start()
    publisher = WeightsPublisher(session, TYPES)
    publisher.ensure_default()
    version = publisher.get().version
    server.lose_answers = 1
    done = publisher.put(weights(2), version)
    assert done.version == server.nodes[PATH].modified
    assert history(session) == [2]
    session.stop()


def test_without_zookeeper_a_change_is_refused_at_once() -> None:
    """There is no pretending, and no waiting."""
    server = MemoryServer()
    session = MemoryCoordination(server)
    session.start()
    server.set_up(False)
    with pytest.raises(ConfigUnavailable):
        WeightsPublisher(session, TYPES).put(weights(2))
    session.stop()


def test_a_change_between_others_sets_wins_only_against_what_it_saw(real_hosts: str, bare: KazooClient) -> None:
    """A bare client's valid document is in force, so a change made for the one before it is refused."""
    session = KazooCoordination(real_hosts)
    session.start()
    wait_until(lambda: session.connected)
    publisher = WeightsPublisher(session, TYPES)
    publisher.ensure_default()
    old = publisher.get().version
    bare.set(PATH, b'{"view": 9, "cart": 3, "purchase": 5}')
    current = bare.get(PATH)[1].mzxid
    with pytest.raises(VersionMismatch) as refused:
        publisher.put(weights(3), old)
    assert refused.value.current == current == publisher.get().version
    session.stop()


def test_the_history_tells_who_when_and_what(connect: Connect) -> None:
    """The newest first; a version by a client that names nobody is there without its document."""
    session = connect()
    publisher = WeightsPublisher(session, TYPES)
    publisher.ensure_default()
    default = publisher.get().version
    first = publisher.put(weights(2), by="key 1").version
    before = session.read(PATH)
    assert before is not None
    foreign = session.commit([SetData(PATH, b'{"view": 3, "cart": 3, "purchase": 5}')])
    last = publisher.put(weights(4), by="key 2").version
    session.commit([SetData(HISTORY, b""), Create(f"{HISTORY}/put-", b"by somebody else", sequence=True)])
    changes = read_history(session, publisher.kind, 20)
    assert [(each.version, each.by) for each in changes] == [
        (last, "key 2"), (foreign, ""), (first, "key 1"), (default, ""),
    ]  # fmt: skip
    assert [None if each.document is None else each.document["view"] for each in changes] == [4, None, 2, None]
    assert changes[0].made_ms >= changes[2].made_ms > 1_600_000_000_000
    assert changes[1].made_ms == 0
    for view in range(5):
        publisher.put(weights(view))
    assert [each.document["view"] for each in read_history(session, publisher.kind, 3) if each.document] == [4, 3, 2]
