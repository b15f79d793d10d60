"""The configuration files of the servers."""

import configparser
import json
import shlex
from pathlib import Path

import pytest

from deploy.local import flink, flink_java, jars, kafka, redis_server, zookeeper
from deploy.local.errors import StackError
from deploy.local.flink_distribution import flink_home
from deploy.local.home import Home
from deploy.local.parts import ALL_PARTS, SERVERS_OF, STOP_ORDER, check_parts
from deploy.local.settings import PORTS, Sizes, read_settings
from deploy.local.supervision import Program, render_configuration
from reccore.topics import topic_configurations

EVERY_PORT = {name: 20_000 + number for number, name in enumerate(PORTS)}


def _lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_supervisor_survives_odd_paths(tmp_path: Path) -> None:
    """Spaces and percent signs in the checkout's path mean something to the supervisor; they must not."""
    home = Home.at(tmp_path / "50% off" / "x")
    home.create()
    parser = configparser.RawConfigParser()
    parser.read_string(render_configuration(home, [Program(name="kafka", argv=("java", "a b"), env={"KEY": 'a"b%'})]))
    program = parser["program:kafka"]
    command = shlex.split(program["command"].replace("%%", "%"))
    description = json.loads(Path(command[3]).read_text())
    assert description["argv"] == ["java", "a b"]
    assert description["env"] == {"KEY": 'a"b%'}
    assert program["autorestart"] == "true"
    assert int(program["startretries"]) > 1_000_000


def test_a_changed_configuration_changes_the_command(tmp_path: Path) -> None:
    """That is how the supervisor learns that a program has to be restarted."""
    home = Home.at(tmp_path)
    home.create()
    first, second = (
        render_configuration(home, [Program(name="redis", argv=("redis-server",), configuration=text)])
        for text in ("port 1", "port 2")
    )
    assert first != second


def test_flink_servers_load_what_every_job_needs_once() -> None:
    """What is missing from their class path is loaded anew for each submitted job, and never given back."""
    names = [Path(each).name for each in flink_java.class_path(flink_home()).split(":")]
    assert any(name.startswith("flink-python-") for name in names)
    assert any(name.startswith("flink-sql-connector-kafka-") for name in names)
    assert names[-1].startswith("flink-dist-")


def test_kafka_keeps_records_for_ever() -> None:
    """Profiles can be rebuilt from the log, whatever the records' timestamps."""
    options = _lines(kafka.render_configuration("data", 1, 2))
    assert options["log.retention.ms"] == "-1"
    assert options["auto.create.topics.enable"] == "false"
    assert options["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1"


def test_topics(tmp_path: Path) -> None:
    """Each event type has its topic, products a compacted one, and a dead letter may have 4 MiB."""
    settings = read_settings(Home.at(tmp_path), {"EXTRA_EVENT_TYPES": "wishlist:wishlist-events"})
    topics = topic_configurations(settings.event_types, settings.followed)
    assert list(topics) == [
        "view-events",
        "add-to-cart-events",
        "purchase-events",
        "wishlist-events",
        "product-catalog",
        "ratings",
        "user_behavior",
        "recommendations",
        "dead-letter-events",
    ]
    assert topics.pop("product-catalog") == topics.pop("recommendations") == {"cleanup.policy": "compact"}
    assert {options["retention.ms"] for options in topics.values()} == {"-1"}
    assert topics["dead-letter-events"]["max.message.bytes"] == "4194304"


def test_zookeeper_allows_short_sessions() -> None:
    """The shortest session is two ticks."""
    options = _lines(zookeeper.render_configuration("data", 1))
    assert 2 * int(options["tickTime"]) <= 4000
    assert options["admin.enableServer"] == "false"


def test_redis_writes_everything_down() -> None:
    """The append-only file is on, and nothing is ever evicted."""
    lines = redis_server.render_configuration("data", 1).splitlines()
    assert {"appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction", "set-proc-title no"} <= set(lines)


def test_flink_keeps_what_java_needs(tmp_path: Path) -> None:
    """The shipped options stay, above all those without which Flink does not run on Java 17."""
    shipped = {"env": {"java": {"opts": {"all": "--add-opens=java.base/java.lang=ALL-UNNAMED"}}}, "a": {"b": 1}}
    options = flink.configuration(shipped, Home.at(tmp_path), EVERY_PORT, Sizes(slots=3))
    assert options["env.java.opts.all"].startswith("--add-opens")
    assert options["a.b"] == "1"
    assert options["taskmanager.numberOfTaskSlots"] == "3"
    assert options["state.backend.type"] == "rocksdb"
    assert options["execution.checkpointing.externalized-checkpoint-retention"] == "RETAIN_ON_CANCELLATION"
    assert options["rest.port"] == str(EVERY_PORT["flink"])


def test_jars_are_pinned() -> None:
    """Every root is in the lock, each jar has a whole SHA-256, and no two of a set have one name."""
    locked = jars.read_lock()
    assert all(len(jar.sha256) == 64 for jar in locked)
    for set_name, roots in jars.ROOTS.items():
        coordinates = [jar.coordinate for jar in locked if jar.set_name == set_name]
        assert set(roots) <= set(coordinates)
        assert len({path.name for path in jars.jar_paths(set_name)}) == len(coordinates)


def test_every_server_is_stopped_in_some_wave() -> None:
    """`down` forgets none."""
    stopped = sorted(name for wave in STOP_ORDER for name in wave)
    assert stopped == sorted(name for names in SERVERS_OF.values() for name in names)


def test_unknown_parts_are_named() -> None:
    """A typing error is not ignored."""
    assert check_parts(reversed(ALL_PARTS)) == ALL_PARTS
    with pytest.raises(StackError, match="zokeeper"):
        check_parts(["zokeeper"])
