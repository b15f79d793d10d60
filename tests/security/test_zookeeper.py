"""ZooKeeper digests, on a real server: what Reweigh creates is its user's alone, and anybody else is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import make_digest_acl

from deploy.local import Stack
from reccore.event_types import EventTypes
from reccore.weights import parse_weights
from recsvc.app import create_app
from recsvc.memory import MemoryEventPublisher
from recsvc.services import build_services
from recsvc.settings import Settings
from reweigh.cli import main
from tests.waiting import wait_until
from zkconfig.coordination import Create
from zkconfig.documents import MEMBERS, ROOT
from zkconfig.errors import ConfigRefused, ConfigUnavailable
from zkconfig.kazoo_client import KazooCoordination
from zkconfig.publisher import WeightsPublisher
from zkconfig.watcher import open_watcher

TYPES = EventTypes.from_settings({})
WEIGHTS = parse_weights({"view": 2, "add_to_cart": 3, "purchase": 5}, TYPES)
OTHERS = parse_weights({"view": 9, "add_to_cart": 9, "purchase": 9}, TYPES)
CANARY = "wrong-7f3a"
RIGHT, WRONG = "reweigh:right:password", f"reweigh:{CANARY}"
_NUMBERS = itertools.count()


@pytest.fixture
def hosts(zookeeper_stack: Stack) -> str:
    """Its address with a root of its own, in which the weights were put by the right user."""
    hosts = f"{zookeeper_stack.addresses.zookeeper}/secured-{next(_NUMBERS)}"
    with_root(zookeeper_stack.addresses.zookeeper, hosts)
    session = connected(hosts, RIGHT)
    WeightsPublisher(session, TYPES).put(WEIGHTS)
    session.stop()
    return hosts


def with_root(server: str, hosts: str) -> None:
    """Create the root, which anybody may write to."""
    client = KazooClient(server)
    client.start(timeout=30)
    client.create("/" + hosts.partition("/")[2])
    client.stop()
    client.close()


def connected(hosts: str, auth: str) -> KazooCoordination:
    """A session of Reweigh's."""
    session = KazooCoordination(hosts, auth=auth)
    session.start()
    wait_until(lambda: session.connected)
    return session


@pytest.fixture
def stranger(hosts: str) -> Iterator[KazooClient]:
    """Somebody else's client."""
    client = KazooClient(hosts)
    client.start(timeout=30)
    yield client
    client.stop()
    client.close()


def nodes_below(client: KazooClient, path: str) -> Iterator[str]:
    """Every node from ``path`` down."""
    yield path
    for name in client.get_children(path):
        yield from nodes_below(client, f"{path}/{name}")


def test_every_node_is_its_users_alone(hosts: str) -> None:
    """Documents, history, and the registrations of processes, whichever way they are created."""
    watcher = open_watcher(hosts, TYPES, role="writer", auth=RIGHT)
    own = KazooClient(hosts, auth_data=[("digest", RIGHT)])
    own.start(timeout=30)
    try:
        wait_until(lambda: watcher.in_force.weights == WEIGHTS and own.exists(MEMBERS) and own.get_children(MEMBERS))
        nodes = [*nodes_below(own, "/config"), *nodes_below(own, "/reweigh")]
        assert f"{ROOT}/weights" in nodes
        assert any(node.startswith(f"{ROOT}/history/weights/put-") for node in nodes)
        user, _, password = RIGHT.partition(":")
        only = [make_digest_acl(user, password, all=True)]
        assert {node: own.get_acls(node)[0] for node in nodes} == dict.fromkeys(nodes, only)
    finally:
        own.stop()
        own.close()
        watcher.stop()


def test_strangers_are_refused(hosts: str, stranger: KazooClient) -> None:
    """Who names no user can neither read, set, delete nor add to the configuration."""
    node = f"{ROOT}/weights"
    for attempt in (
        lambda: stranger.get(node),
        lambda: stranger.set(node, b'{"view": 9, "add_to_cart": 9, "purchase": 9}'),
        lambda: stranger.delete(node),
        lambda: stranger.create(f"{ROOT}/other"),
        lambda: stranger.set_acls(node, [make_digest_acl("me", "me", all=True)]),
    ):
        with pytest.raises(NoAuthError):
            attempt()


@pytest.mark.parametrize("auth", [WRONG, ""])
def test_a_wrong_password_is_refused(hosts: str, auth: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each operation says so, without the password; what is in force stays."""
    caplog.set_level("DEBUG")
    session = connected(hosts, auth)
    publisher = WeightsPublisher(session, TYPES)
    try:
        for attempt in (
            lambda: session.read(f"{ROOT}/weights"),
            lambda: session.children(f"{ROOT}/history/weights"),
            lambda: session.commit([Create(f"{ROOT}/other", b"")]),
            lambda: session.create_ephemeral(f"{ROOT}/other", b""),
            lambda: session.delete(f"{ROOT}/weights"),
            lambda: publisher.put(OTHERS),
        ):
            with pytest.raises(ConfigRefused, match="ZOOKEEPER_AUTH") as told:
                attempt()
            assert CANARY not in str(told.value)
    finally:
        session.stop()
    assert CANARY not in caplog.text
    right = connected(hosts, RIGHT)
    assert WeightsPublisher(right, TYPES).get().document == WEIGHTS
    right.stop()


def test_a_follower_that_is_refused_goes_on(hosts: str) -> None:
    """With what it had, as when ZooKeeper is away; the right user's changes don't reach it, nothing else breaks."""
    watcher = open_watcher(hosts, TYPES, role="writer", last_good=(OTHERS, 1), auth=WRONG)
    try:
        wait_until(lambda: watcher.coordination.connected)
        with pytest.raises(ConfigUnavailable):
            watcher.coordination.read(f"{ROOT}/weights")
        assert (watcher.in_force.weights, watcher.connected) == (OTHERS, False)
    finally:
        watcher.stop()


def test_the_service_changes_weights_as_its_user(hosts: str) -> None:
    """With the right password a change is made and followed; with a wrong one 503, and reading still works."""
    for auth, status in ((RIGHT, 200), (WRONG, 503)):
        settings = Settings(
            event_types=TYPES, zookeeper_hosts=hosts, zookeeper_auth=auth, redis_url="redis://127.0.0.1:1/0"
        )
        services = build_services(settings, publisher=MemoryEventPublisher())
        services.start()
        try:
            wait_until(lambda: services.weights.coordination.connected)  # noqa: B023
            http = create_app(settings, services).test_client()
            answer = http.put("/api/config/weights", json={"view": 4, "add_to_cart": 3, "purchase": 5})
            assert (answer.status_code, CANARY in answer.text) == (status, False)
            assert http.get("/recommend/u").status_code == 200
        finally:
            services.stop()


def test_commands_take_the_password_from_a_file(
    hosts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`reweigh weights` and `reweigh doctor` work as the right user, and say why they don't as a wrong one."""
    file = tmp_path / "auth"
    monkeypatch.setenv("ZOOKEEPER_HOSTS", hosts)
    monkeypatch.setenv("ZOOKEEPER_AUTH_FILE", str(file))
    for auth, status in ((RIGHT, 0), (WRONG, 1)):
        file.write_text(auth + "\n")
        assert main(["weights", "set", "view=6", "add_to_cart=3", "purchase=5"]) == status
        assert main(["weights", "get"]) == status
    said = capsys.readouterr()
    assert '"view": 6' in said.out
    assert "does not let this user" in said.err
    assert CANARY not in said.out + said.err


def test_doctor_names_its_user(
    zookeeper_stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the root is closed, only the right user's node can be made."""
    hosts = f"{zookeeper_stack.addresses.zookeeper}/closed"
    own = KazooClient(zookeeper_stack.addresses.zookeeper, auth_data=[("digest", RIGHT)])
    own.start(timeout=30)
    user, _, password = RIGHT.partition(":")
    own.create("/closed", acl=[make_digest_acl(user, password, all=True)])
    own.stop()
    own.close()
    monkeypatch.setenv("ZOOKEEPER_HOSTS", hosts)
    verdicts = []
    for auth in (RIGHT, WRONG):
        monkeypatch.setenv("ZOOKEEPER_AUTH", auth)
        main(["doctor"])
        said = capsys.readouterr().out
        verdicts.append(said.splitlines()[-1].split()[:2])
        assert CANARY not in said
    assert verdicts == [["ZooKeeper", "ok"], ["ZooKeeper", "FAILED"]]
