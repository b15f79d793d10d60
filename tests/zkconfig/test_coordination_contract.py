"""What the package relies on, of ZooKeeper and of its stand-in in memory alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.waiting import wait_until
from zkconfig.coordination import Coordination, Create, Node, SetData
from zkconfig.errors import Conflict
from zkconfig.kazoo_client import KazooCoordination
from zkconfig.memory import MemoryCoordination

Connect = Callable[[], Coordination]


def test_a_transaction_is_done_whole_and_numbered(connect: Connect) -> None:
    """Every node that a transaction writes has its number as mzxid, and the next number is greater."""
    session = connect()
    session.ensure("/a/b")
    first = session.commit([Create("/a/b/one", b"1"), SetData("/a/b/one", b"2"), SetData("/a/b", b"x")])
    one, parent = session.read_many(["/a/b/one", "/a/b"])
    assert one is not None
    assert parent is not None
    assert (one.data, one.modified, one.created, parent.modified) == (b"2", first, first, first)
    assert session.commit([SetData("/a/b", b"y", parent.version)]) > first


def test_a_refused_transaction_changes_nothing(connect: Connect) -> None:
    """A wrong version, a node that exists already and one that is missing each refuse the whole transaction."""
    session = connect()
    session.ensure("/a")
    for wrong in (SetData("/a", b"", 7), Create("/a", b""), SetData("/missing", b""), Create("/no/parent", b"")):
        with pytest.raises(Conflict):
            session.commit([SetData("/a", b"changed"), wrong])
    node = session.read("/a")
    assert node is not None
    assert node.data == b""


def test_numbered_children_are_listed_in_order(connect: Connect) -> None:
    """Sequence nodes get growing numbers; a missing parent has no children."""
    session = connect()
    session.ensure("/list")
    for _ in range(3):
        session.commit([SetData("/list", b""), Create("/list/put-", b"", sequence=True)])
    names = session.children("/list")
    assert names == sorted(names)
    assert len(names) == 3
    session.delete(f"/list/{names[0]}")
    session.delete(f"/list/{names[0]}")
    assert session.children("/list") == names[1:]
    assert session.children("/missing") == []


def test_an_ephemeral_node_goes_with_its_session(connect: Connect) -> None:
    """Others see it while the session lasts, and no longer."""
    mine, other = connect(), connect()
    path = mine.create_ephemeral("/members/me-", b"here")
    other.settle("/members")
    assert other.read(path) is not None
    mine.stop()
    wait_until(lambda: other.read(path) is None)


def test_a_watch_tells_of_creation_change_and_deletion(connect: Connect) -> None:
    """The callback gets the node at once and after each change by another session, and None when it is gone."""
    mine, other = connect(), connect()
    seen: list[bytes | None] = []

    def callback(node: Node | None) -> None:
        seen.append(None if node is None else node.data)

    mine.watch("/watched", callback)
    wait_until(lambda: seen == [None])
    other.ensure("/watched")
    wait_until(lambda: seen[-1] == b"")
    other.commit([SetData("/watched", b"1")])
    wait_until(lambda: seen[-1] == b"1")
    other.delete("/watched")
    wait_until(lambda: seen[-1] is None)


def test_calls_run_in_the_background_one_after_the_other(connect: Connect) -> None:
    """In the order given, again and again where asked for, past one that fails; and at once when connected already."""
    session = connect()
    seen: list[str] = []
    session.submit(lambda: seen.append("first"))
    session.submit(lambda: [].index(1))  # type: ignore[arg-type]
    session.on_connected(lambda: seen.append("connected"))
    wait_until(lambda: seen == ["first", "connected"])
    session.every(0.01, lambda: seen.append("again"))
    wait_until(lambda: seen[2:4] == ["again", "again"])


@pytest.mark.parametrize("name", ["on_connected", "submit", "every"])
def test_both_share_what_runs_in_the_background(name: str) -> None:
    """The stand-in can't differ from the real one there: it is the same code."""
    assert getattr(KazooCoordination, name) is getattr(MemoryCoordination, name)
