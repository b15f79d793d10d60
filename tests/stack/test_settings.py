"""What can be set, what is remembered, and which ports are taken."""

import json
import socket
import threading
from pathlib import Path

import pytest

from deploy.local import Stack
from deploy.local.__main__ import _default_parts
from deploy.local.errors import StackError
from deploy.local.home import LONGEST_SOCKET_PATH, Home
from deploy.local.ports import HOST, choose_ports
from deploy.local.settings import PORTS, REDIS_URL, Sizes, read_settings, remember_settings


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home folder of its own."""
    home = Home.at(tmp_path / "home")
    home.create()
    return home


def test_defaults(home: Home) -> None:
    """Without any variable the sizes are the defaults, no port is fixed, and the topics have their usual names."""
    settings = read_settings(home, {})
    assert settings.sizes == Sizes()
    assert settings.ports == {}
    assert settings.topics == ("view-events", "add-to-cart-events", "purchase-events")
    assert settings.dead_letter_topic == "dead-letter-events"


def test_given_once_is_remembered_and_given_empty_is_forgotten(home: Home) -> None:
    """A second `up` without the variables starts the same stack."""
    remember_settings(home, {"REWEIGH_SLOTS": "4", "EXTRA_EVENT_TYPES": "wishlist:wishlist-events", "PATH": "/bin"})
    again = read_settings(home, {})
    assert again.sizes.slots == 4
    assert again.topics[-1] == "wishlist-events"
    remember_settings(home, {"REWEIGH_SLOTS": ""})
    assert read_settings(home, {}).sizes.slots == Sizes().slots
    assert read_settings(home, {}).topics[-1] == "wishlist-events"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"REWEIGH_KAFKA_PORT": "70000"}, "REWEIGH_KAFKA_PORT='70000'"),
        ({"REWEIGH_SLOTS": "two"}, "REWEIGH_SLOTS='two'"),
        ({"REWEIGH_PARALLELISM": "3"}, "REWEIGH_PARALLELISM=3"),
        ({"EXTRA_EVENT_TYPES": "wishlist"}, "'wishlist'"),
        ({"MOST_TAGS_PER_USER": "many"}, "MOST_TAGS_PER_USER='many'"),
        ({"RECENT_EVENTS": "-1"}, "RECENT_EVENTS='-1'"),
        ({"METADATA_NUMBERS": "a b"}, "METADATA_NUMBERS='a b'"),
        ({"FEATURE_ATTRIBUTES": "a b"}, "FEATURE_ATTRIBUTES='a b'"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL='loud'"),
    ],
)
def test_wrong_values_are_named(home: Home, environment: dict[str, str], named: str) -> None:
    """The message says which key, which value, and what is allowed."""
    with pytest.raises(StackError, match=r"write|allowed|at most") as error:
        read_settings(home, environment)
    assert named in str(error.value)


def test_a_redis_elsewhere(home: Home) -> None:
    """Its address takes the place of the stack's own everywhere; no password is kept in the settings."""
    url = "redis+cluster://a:1,b:2"
    remember_settings(home, {REDIS_URL: url})
    (home.path / "ports.json").write_text(json.dumps(dict.fromkeys(PORTS, 1)))
    stack = Stack(home.path, environment={})
    assert stack.env["REDIS_URL"] == url
    assert "redis" not in _default_parts((), stack.settings.redis_url)
    remember_settings(home, {REDIS_URL: ""})
    assert stack.env["REDIS_URL"] == "redis://127.0.0.1:1/0"
    assert "redis" in _default_parts((), stack.settings.redis_url)
    for wrong, said in (("redis://:secret@h:1", "without a password"), ("http://h", "allowed is redis://")):
        with pytest.raises(StackError, match=said) as refused:
            read_settings(home, {REDIS_URL: wrong})
        assert "secret" not in str(refused.value)


def test_ports_are_different_and_remembered(home: Home) -> None:
    """A second `up` uses the same ports."""
    first = choose_ports(home, {}, ())
    assert len(set(first.values())) == len(PORTS)
    assert choose_ports(home, {}, ()) == first


def test_free_ports_lie_outside_the_range_of_outgoing_connections(home: Home) -> None:
    """A client that retries must never be given the port of the server that is being restarted."""
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not any(lowest <= port <= highest for port in choose_ports(home, {}, ()).values())


def test_a_port_taken_by_a_stranger_is_replaced(home: Home) -> None:
    """Only that port changes; one that our own running part holds is kept."""
    first = choose_ports(home, {}, ())
    with socket.socket() as stranger:
        stranger.bind((HOST, first["redis"]))
        stranger.listen()
        assert choose_ports(home, {}, ("redis",)) == first
        second = choose_ports(home, {}, (), patience_seconds=0)
    assert second["redis"] != first["redis"]
    assert {**second, "redis": 0} == {**first, "redis": 0}


def test_a_port_that_is_just_being_left_is_kept(home: Home) -> None:
    """A server that was killed may hold its port for a moment longer."""
    first = choose_ports(home, {}, ())
    leaving = socket.socket()
    leaving.bind((HOST, first["kafka"]))
    leaving.listen()
    timer = threading.Timer(0.5, leaving.close)
    timer.start()
    assert choose_ports(home, {}, ()) == first
    timer.join()


def test_a_fixed_port_held_by_a_stranger_is_refused(home: Home) -> None:
    """The user chose it, so the user is told."""
    with socket.socket() as stranger:
        stranger.bind((HOST, 0))
        stranger.listen()
        with pytest.raises(StackError, match="REWEIGH_API_PORT"):
            choose_ports(home, {"api": stranger.getsockname()[1]}, (), patience_seconds=0)


def test_the_socket_path_is_short_for_any_checkout(tmp_path: Path) -> None:
    """A Unix socket's path has at most 107 bytes, however deep the checkout lies."""
    deep = Home.at(tmp_path / ("deep" * 30) / "home")
    assert len(str(deep.socket)) <= LONGEST_SOCKET_PATH
    assert deep.socket != Home.at(tmp_path / ("deep" * 30) / "other").socket


def test_two_homes_have_two_identities(tmp_path: Path) -> None:
    """Processes are told apart by the home they belong to."""
    assert Home.at(tmp_path / "a").stack_id != Home.at(tmp_path / "b").stack_id
    assert Home.at(tmp_path / "a").stack_id == Home.at(str(tmp_path / "a")).stack_id
