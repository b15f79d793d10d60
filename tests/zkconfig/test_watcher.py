"""The weights in force: what takes effect, what does not, and what survives."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Sequence

import pytest
from kazoo.client import KazooClient

from deploy.local.stack import Stack
from reccore.event_types import EventTypes
from reccore.weights import parse_weights
from tests.waiting import wait_until
from zkconfig import last_good, open_watcher
from zkconfig.coordination import Operation
from zkconfig.documents import MEMBERS, weights_kind
from zkconfig.kazoo_client import KazooCoordination
from zkconfig.memory import MemoryCoordination, MemoryServer
from zkconfig.presence import Presence, read_members
from zkconfig.publisher import WeightsPublisher
from zkconfig.watcher import RECORD_TRIES, WeightsWatcher

TYPES = EventTypes.from_settings({})
PATH = "/config/recommendation/weights"
LAST_GOOD = "/config/recommendation/last_good/weights"
BAD = {
    "not JSON": b"nope",
    "empty": b"",
    "negative": b'{"view": -1, "add_to_cart": 3, "purchase": 5}',
    "not a number": b'{"view": NaN, "add_to_cart": 3, "purchase": 5}',
    "too large a number": b'{"view": 1e999, "add_to_cart": 3, "purchase": 5}',
    "a type is missing": b'{"view": 1, "add_to_cart": 3}',
    "all zero": b'{"view": 0, "add_to_cart": 0, "purchase": 0}',
    "a text": b'{"view": "1", "add_to_cart": 3, "purchase": 5}',
    "an array": b"[1, 3, 5]",
    "not UTF-8": b'{"view": 1, "add_to_cart": 3, "purchase": 5, "\xff": 1}',
    "very deep": b"[" * 60_000,
    "very large": b'{"view": 1, "add_to_cart": 3, "purchase": 5' + b" " * 900_000 + b"}",
}


def document(view: float) -> bytes:
    """A valid document, told apart by one weight."""
    return f'{{"view": {view}, "add_to_cart": 3, "purchase": 5}}'.encode()


@pytest.fixture
def server() -> MemoryServer:
    """A ZooKeeper in memory."""
    return MemoryServer()


@pytest.fixture
def watch(server: MemoryServer) -> Callable[..., WeightsWatcher]:
    """Starts watchers with sessions of their own."""
    return lambda **given: _started(WeightsWatcher(MemoryCoordination(server), TYPES, **given))


@pytest.fixture(autouse=True)
def _stop_watchers() -> object:
    yield
    while _OPEN:
        _OPEN.pop().stop()


_OPEN: list[WeightsWatcher] = []


def _started(watcher: WeightsWatcher) -> WeightsWatcher:
    _OPEN.append(watcher)
    watcher.start()
    return watcher


def test_the_default_is_created_when_missing_and_never_overwritten(
    server: MemoryServer, watch: Callable[..., WeightsWatcher]
) -> None:
    """The first process creates the document; a later one leaves another document as it is."""
    first = watch()
    wait_until(lambda: first.connected)
    assert first.in_force.weights.as_dict() == {"view": 1, "add_to_cart": 3, "purchase": 5}
    assert first.in_force.version == server.nodes[PATH].modified
    server.write(PATH, document(2))
    second = watch()
    wait_until(lambda: second.connected)
    assert second.in_force.weights.as_dict()["view"] == 2
    assert server.nodes[PATH].data == document(2)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_document_is_counted_once_and_changes_nothing(
    server: MemoryServer, watch: Callable[..., WeightsWatcher], bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The last good one stays in force, here and for who starts while the bad one is there."""
    watcher = watch(reread_seconds=0.02)
    wait_until(lambda: watcher.connected)
    good = server.write(PATH, document(2))
    with caplog.at_level(logging.ERROR):
        server.write(PATH, bad)
        wait_until(lambda: watcher.rejected == 1)
        late = watch()
        wait_until(lambda: late.connected)
        wait_until(lambda: late.in_force.version == good)  # the first one may be about to record it just now
    assert watcher.in_force.version == good
    assert late.in_force.weights.as_dict()["view"] == 2
    assert late.in_force.known
    assert watcher.rejected == 1
    refusals = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert len(refusals) == 2  # one line a process, however often it looks again
    assert server.write(PATH, document(4)) == watcher.in_force.version == late.in_force.version


def test_a_deletion_changes_nothing_and_a_restart_puts_back_what_was_in_force(
    server: MemoryServer, watch: Callable[..., WeightsWatcher]
) -> None:
    """The weights of a running system are not reset by deleting their node, nor by a restart afterwards."""
    watcher = watch()
    wait_until(lambda: watcher.connected)
    version = server.write(PATH, document(2))
    wait_until(lambda: _recorded(server) == version)
    server.remove(PATH)
    assert watcher.in_force.version == version
    assert PATH not in server.nodes
    late = watch()
    wait_until(lambda: late.connected)
    assert late.in_force.weights.as_dict()["view"] == 2
    assert late.in_force.version == watcher.in_force.version > version


def test_without_zookeeper_the_seed_or_the_default_is_in_force(
    server: MemoryServer, watch: Callable[..., WeightsWatcher]
) -> None:
    """A cold start does not wait; what ZooKeeper holds takes effect when it comes."""
    server.set_up(False)
    seed = parse_weights(document(7), TYPES)
    cold, seeded = watch(), watch(last_good=(seed, 3))
    assert (cold.in_force.version, cold.in_force.known, cold.connected) == (0, False, False)
    assert (seeded.in_force.weights, seeded.in_force.version, seeded.in_force.known) == (seed, 3, True)
    server.up = True
    for _ in range(4):
        server.write(PATH, document(9))
    server.set_up(True)
    wait_until(lambda: cold.in_force.weights.as_dict()["view"] == 9 == seeded.in_force.weights.as_dict()["view"])
    assert cold.in_force.version == seeded.in_force.version


def test_a_listener_that_fails_stops_nothing(server: MemoryServer, watch: Callable[..., WeightsWatcher]) -> None:
    """An exception or a TypeError in a listener neither ends the watch nor hides the change from the next listener."""
    watcher = watch()
    wait_until(lambda: watcher.connected)
    told: list[int] = []
    watcher.on_change += [lambda _: [].index(1), lambda _: int(None), lambda value: told.append(value.version)]  # type: ignore[arg-type,list-item,call-overload]
    versions = [server.write(PATH, document(view)) for view in (2, 3)]
    assert told == versions
    assert watcher.wait_for_version(versions[-1], 0)
    assert not watcher.wait_for_version(versions[-1] + 1, 0.01)


def _recorded(server: MemoryServer) -> int:
    """The version of the last good document, which a watcher writes in the background."""
    found = last_good.decode(weights_kind(TYPES), server.nodes[LAST_GOOD])
    return 0 if found is None else found[1]


class _Contended(MemoryCoordination):
    """Before each of its next ``conflicts`` changes somebody else sets the last good document, to an older one."""

    conflicts, tries = 0, 0

    def commit(self, operations: Sequence[Operation]) -> int:
        """Lose against the other as often as is asked for."""
        self.tries += 1
        if self.conflicts:
            self.conflicts -= 1
            self._server.write(LAST_GOOD, last_good.encode(parse_weights(document(1), TYPES), 1))
        return super().commit(operations)


@pytest.mark.parametrize(("conflicts", "tries"), [(RECORD_TRIES - 1, RECORD_TRIES), (10**6, RECORD_TRIES)])
def test_the_last_good_document_is_kept_in_spite_of_conflicts(server: MemoryServer, conflicts: int, tries: int) -> None:
    """It is read and tried again when somebody else changed it meanwhile, so often and no more."""
    session = _Contended(server)
    watcher = _started(WeightsWatcher(session, TYPES))
    wait_until(lambda: watcher.connected)
    session.conflicts, session.tries = conflicts, 0
    version = server.write(PATH, document(2))
    wait_until(lambda: session.tries == tries)
    server.write(PATH, b"bad")  # so that only what was kept tells a later process of the weights
    done = threading.Event()
    session.submit(done.set)
    assert done.wait(5)
    late = _started(WeightsWatcher(MemoryCoordination(server), TYPES))
    wait_until(lambda: late.connected)
    assert (late.in_force.version == version) == (conflicts < RECORD_TRIES)
    assert session.tries == tries


def test_versions_are_told_in_their_order(server: MemoryServer, watch: Callable[..., WeightsWatcher]) -> None:
    """While one thread tells of a version, a newer one that another thread brings waits for its turn."""
    watcher = watch(role="api")
    wait_until(lambda: watcher.connected)
    first = server.write(PATH, document(2)) + 10
    newer, told = parse_weights(document(3), TYPES), list[int]()
    other = threading.Thread(target=watcher.offer, args=(newer, first + 1))

    def slow(taken: object) -> None:
        if not told and not other.is_alive():
            other.start()
            other.join(0.2)

    watcher.on_change += [slow, lambda taken: told.append(taken.version)]
    watcher.offer(parse_weights(document(4), TYPES), first)
    other.join()
    assert told == [first, first + 1]
    wait_until(lambda: [each.version for each in read_members(watcher.coordination)] == [first + 1])


def test_a_lost_answer_registers_nobody_twice(server: MemoryServer) -> None:
    """The node was made, but the answer got lost: the next attempt leaves one node."""
    session = MemoryCoordination(server)
    session.start()
    server.lose_answers = 1
    presence = Presence(session, "api")
    presence.have("weights", 5)
    presence.have("weights", 6)
    wait_until(lambda: [each.version for each in read_members(session)] == [6])
    assert len(session.children(MEMBERS)) == 1
    session.stop()


def test_a_registered_version_never_falls(server: MemoryServer) -> None:
    """Who tells of an older version late, of whatever document, changes nothing."""
    session = MemoryCoordination(server)
    session.start()
    presence = Presence(session, "api")
    threads = [
        threading.Thread(target=presence.have, args=(name, version))
        for version in (*range(1, 9), 100, 7)
        for name in ("weights", "ranking")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    presence.have("weights", 3)
    told = threading.Event()
    session.submit(told.set)
    assert told.wait(5)
    assert [each.versions for each in read_members(session)] == [{"weights": 100, "ranking": 100}]
    session.expire()
    wait_until(lambda: [each.version for each in read_members(session)] == [100])
    session.stop()


def test_a_registration_that_comes_late_goes_again(server: MemoryServer) -> None:
    """One that ZooKeeper made after the attempt had been given up for another stands for nobody."""
    session = MemoryCoordination(server)
    presence = Presence(session, "sweeper")
    presence.have("weights", 5)
    session.start()
    wait_until(lambda: [each.version for each in read_members(session)] == [5])
    node = session.read(f"{MEMBERS}/{presence.name}")
    assert node is not None
    late = session.create_ephemeral(f"{MEMBERS}/{presence.name[:-10]}", node.data)
    other = session.create_ephemeral(f"{MEMBERS}/{presence.name[:-10]}", b"{}")
    presence._look()
    assert [session.read(path) is None for path in (late, other)] == [True, False]
    assert [each.name for each in read_members(session)] == [presence.name]
    session.stop()


def test_a_lost_session_is_registered_again(server: MemoryServer, watch: Callable[..., WeightsWatcher]) -> None:
    """The process is listed under its new session, with the version that it has in force."""
    watcher = watch(role="api")
    observer = MemoryCoordination(server)
    observer.start()
    wait_until(lambda: len(read_members(observer)) == 1)
    before = read_members(observer)[0]
    assert isinstance(watcher.coordination, MemoryCoordination)
    watcher.coordination.expire()
    version = server.write(PATH, document(2))
    wait_until(lambda: [each.version for each in read_members(observer)] == [version])
    after = read_members(observer)[0]
    assert after.name != before.name
    assert (after.role, after.pid) == ("api", before.pid)
    observer.stop()


def test_a_burst_of_changes_ends_on_the_last_value(real_hosts: str, bare: KazooClient) -> None:
    """500 quick changes by another client, some of them bad: the last good one is in force everywhere."""
    watchers = [_started(open_watcher(real_hosts, TYPES, role="api")) for _ in range(2)]
    wait_until(lambda: all(each.connected for each in watchers))
    for number in range(500):
        bare.set_async(PATH, document(number) if number % 7 else b"bad")
    bare.set(PATH, document(1000))
    version = bare.get(PATH)[1].mzxid
    for each in watchers:
        assert each.wait_for_version(version, 10)
        assert each.in_force.weights.as_dict()["view"] == 1000
    bare.set(PATH, b"bad")
    late = _started(open_watcher(real_hosts, TYPES))
    wait_until(lambda: late.connected)
    assert late.in_force.version == version


def test_a_process_outlives_zookeepers_death_and_pause(zookeeper_stack: Stack, real_hosts: str) -> None:
    """Killed and paused beyond the session, ZooKeeper is followed again; the weights stay known throughout."""
    coordination = KazooCoordination(real_hosts, session_seconds=2.0)
    watcher = _started(WeightsWatcher(coordination, TYPES, role="api"))
    wait_until(lambda: watcher.connected)
    publisher = WeightsPublisher(coordination, TYPES, watcher)
    first = publisher.put(parse_weights(document(2), TYPES)).version
    zookeeper_stack.kill("zookeeper")
    wait_until(lambda: not watcher.connected)
    assert watcher.in_force.version == first
    zookeeper_stack.wait_ready("zookeeper")
    _set_when_up(real_hosts, document(3))
    wait_until(lambda: watcher.in_force.weights.as_dict()["view"] == 3)
    session = coordination.session
    zookeeper_stack.kill("zookeeper", signal.SIGSTOP)
    wait_until(lambda: not watcher.connected)
    assert watcher.in_force.weights.as_dict()["view"] == 3
    zookeeper_stack.kill("zookeeper", signal.SIGCONT)
    wait_until(lambda: watcher.connected, 30)
    _set_when_up(real_hosts, document(4))
    wait_until(lambda: watcher.in_force.weights.as_dict()["view"] == 4)
    wait_until(lambda: [each.version for each in read_members(coordination)] == [watcher.in_force.version])
    assert session is not None


def _set_when_up(hosts: str, data: bytes) -> None:
    client = KazooClient(hosts)
    client.start(timeout=30)
    client.retry(client.set, PATH, data)
    client.stop()
    client.close()
