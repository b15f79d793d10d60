"""docker-compose.yml is what Compose takes, and names what there is."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from compose_spec import PyCompose

from deploy.compose.make_secrets import main, make_secrets
from deploy.local import jars
from deploy.local.redis_server import render_configuration
from deploy.local.settings import HANDED_ON
from recsvc.ingest_routes import LARGEST_BATCH
from reweigh.cli import build_parser

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
OWN = ("reweigh-service", "reweigh-job")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file, its anchors resolved."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


def test_compose_takes_it(compose: dict[str, Any]) -> None:
    """Every member is one that the Compose specification knows, of the type that it wants."""
    assert set(PyCompose.from_json(_value(json.dumps(compose))).service_names()) == set(compose["services"])
    wrong = {**compose, "services": {**compose["services"], "proxy": {**compose["services"]["proxy"], "port": []}}}
    with pytest.raises(ValueError, match="port"):
        PyCompose.from_json(_value(json.dumps(wrong)))


def test_every_image_is_pinned(compose: dict[str, Any]) -> None:
    """To a whole version; the servers' are those of the local stack."""
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert [image for image in images.values() if not re.search(r":(v?\d+\.\d+\.\d+|\$\{REWEIGH_VERSION)", image)] == []
    lock = {jar.coordinate.split(":")[1]: jar.coordinate.split(":")[2] for jar in jars.read_lock()}
    assert images["kafka-1"] == f"apache/kafka:{lock['kafka_2.13']}"
    assert images["zookeeper"] == f"zookeeper:{lock['zookeeper']}"


def test_every_container_is_watched(compose: dict[str, Any]) -> None:
    """By its image's health check or one of its own; only what ends by itself, or works once an hour, has none."""
    unwatched = {name for name, each in compose["services"].items() if each.get("healthcheck", {}).get("disable")}
    assert unwatched == {"topics", "train"}
    for name, service in compose["services"].items():
        assert service["image"].startswith(OWN) or "healthcheck" in service, name


def test_own_containers_have_no_more_rights_than_they_need(compose: dict[str, Any]) -> None:
    """No root, no capability, no writing outside volumes and /tmp."""
    for name, service in compose["services"].items():
        if service["image"].startswith(OWN):
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert "user" not in service, name


def test_flink_may_load_the_libraries_that_it_unpacks(compose: dict[str, Any]) -> None:
    """Snappy, which reads compressed records, is put into /tmp: noexec in a container unless it is asked for."""
    for name, service in compose["services"].items():
        if service["image"].startswith(OWN):
            wanted = ["/tmp:exec"] if service["image"].startswith("reweigh-job") else ["/tmp"]  # noqa: S108
            assert service["tmpfs"] == wanted, name


def test_nothing_is_open_to_the_network_unasked(compose: dict[str, Any]) -> None:
    """Ports are published on this machine alone, unless an address is given for the proxy."""
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert published
    assert [
        port for port in published if not port.startswith(("127.0.0.1:", "${REWEIGH_API_ADDRESS:-127.0.0.1}:"))
    ] == []


def test_three_brokers_acknowledge_by_two(compose: dict[str, Any]) -> None:
    """Three of them, each with a number, replication by three with two in sync, for the topics too."""
    brokers = [compose["services"][f"kafka-{number}"]["environment"] for number in (1, 2, 3)]
    assert [broker["KAFKA_NODE_ID"] for broker in brokers] == [1, 2, 3]
    for broker in brokers:
        factors = {value for key, value in broker.items() if key.endswith("REPLICATION_FACTOR")}
        least = {value for key, value in broker.items() if key.endswith(("MIN_ISR", "MIN_INSYNC_REPLICAS"))}
        assert (factors, least) == ({3}, {2})
    options = build_parser().parse_args([_value(word) for word in compose["services"]["topics"]["command"][1:]])
    assert (options.replication_factor, options.min_insync) == (3, 2)


def test_commands_are_commands(compose: dict[str, Any]) -> None:
    """What begins with `reweigh` is understood by it."""
    commands = [each["command"] for each in compose["services"].values() if "command" in each]
    understood = [
        build_parser().parse_args([_value(word) for word in command[1:]])
        for command in commands
        if command[0] == "reweigh"
    ]
    assert {options.command for options in understood} == {"topics", "follow", "canary", "train", "archive", "bridge"}


def test_redis_is_set_as_in_the_local_stack(compose: dict[str, Any]) -> None:
    """Persistence, memory policy and encodings."""
    command = compose["services"]["redis"]["command"][1:]
    given = dict(zip([name.removeprefix("--") for name in command[::2]], command[1::2], strict=True))
    assert given.pop("aclfile") == "/run/secrets/redis_users"
    local = dict(line.split(" ", 1) for line in render_configuration("/data", 6379).splitlines())
    assert given == {name: local[name].strip('"') for name in given}
    assert given["appendonly"] == "yes"


def test_flink_is_told_where_its_job_is(compose: dict[str, Any]) -> None:
    """The image's configuration names no JobManager, and what the container's command names counts for that alone."""
    configuration = yaml.safe_load((ROOT / "deploy" / "images" / "job" / "conf" / "config.yaml").read_text())
    assert not {"rest.address", "jobmanager.rpc.address"} & configuration.keys()
    pages = "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
    asked = re.findall(r"docker compose exec jobmanager flink (\w+) (.*)", pages)
    assert {command for command, _ in asked} == {"list", "stop"}
    assert [
        command for command, rest in asked if not rest.startswith(f"-m localhost:{configuration['rest.port']}")
    ] == []
    assert compose["services"]["jobmanager"]["ports"][0].endswith(f":{configuration['rest.port']}")


def test_the_service_is_told_where_to_ask_how_the_job_does(compose: dict[str, Any]) -> None:
    """For `/ops`, at the port that the JobManager's container listens at."""
    rest = urlsplit(compose["services"]["service"]["environment"]["FLINK_REST"])
    assert (rest.scheme, rest.hostname) == ("http", "jobmanager")
    assert compose["services"]["jobmanager"]["ports"][0].endswith(f":{rest.port}")


def test_settings_that_are_handed_on_are_handed_on_here_too(compose: dict[str, Any]) -> None:
    """Every setting that the local stack gives to job and service, but those of the archive, which it has itself."""
    shared = {name for name in HANDED_ON if not name.startswith("ARCHIVE_")}
    for name in ("jobmanager", "service", "sweeper", "follower", "topics"):
        assert shared <= set(compose["services"][name]["environment"]), name
    assert set(HANDED_ON) <= set(compose["services"]["archive"]["environment"])


def test_what_is_mounted_exists(compose: dict[str, Any]) -> None:
    """Files of this repository, declared volumes, declared secrets."""
    for name, service in compose["services"].items():
        for mounted in service.get("volumes", ()):
            source = mounted.split(":")[0]
            if source.startswith("./grafana") and not (ROOT / "grafana").exists():
                continue
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"
            else:  # an unnamed volume for RocksDB; the whole machine, read only, for the node exporter
                assert source in {*compose["volumes"], "/scratch", "/"}, f"{name}: {source}"
        for secret in service.get("secrets", ()):
            assert (secret if isinstance(secret, str) else secret["source"]) in compose["secrets"], name


def test_no_secret_stands_in_it(compose: dict[str, Any]) -> None:
    """Each is a file outside the repository, and whoever reads one is told where it is."""
    assert all(
        secret["file"].startswith("${REWEIGH_SECRETS:-./.local/secrets}/") for secret in compose["secrets"].values()
    )
    for name, service in compose["services"].items():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|API_KEY|REDIS_URL", key):
                assert str(value).startswith("/run/secrets/"), f"{name}: {key}"


def test_secrets_are_made_once(tmp_path: Path, compose: dict[str, Any]) -> None:
    """Every file that is mounted, readable to the containers in a folder closed to others, and never replaced."""
    folder = tmp_path / "secrets"
    made = make_secrets(folder)
    assert set(compose["secrets"]) <= set(made)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    texts = {name: (folder / name).read_text() for name in made}
    redis_url = urlsplit(texts["redis_url"].strip())
    assert (redis_url.username, redis_url.password) == ("default", texts["redis_password"].strip())
    assert f"user {redis_url.username} on >{redis_url.password} " in texts["redis_users"]
    assert texts["rabbitmq_password"].strip() in texts["rabbitmq_user"]
    assert make_secrets(folder) == []
    assert {name: (folder / name).read_text() for name in made} == texts


def test_secrets_go_where_compose_looks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is named, else ``REWEIGH_SECRETS``; what is no folder is said, and an option makes none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REWEIGH_SECRETS", "elsewhere")
    assert main([]) == 0
    assert main(["named"]) == 0
    assert (tmp_path / "elsewhere" / "redis_url").is_file()
    assert (tmp_path / "named" / "redis_url").is_file()
    (tmp_path / "file").touch()
    for wrong in ("file", "--folder"):
        with pytest.raises(SystemExit):
            main([wrong])
    assert "file: File exists" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "file", "named"]


def test_the_proxy_lets_the_service_refuse() -> None:
    """It buffers both ways, takes bodies that are larger than the service does, and keeps the metrics to itself.

    What fails it logs, without what names a user.
    """
    text = (ROOT / "deploy" / "compose" / "nginx.conf").read_text()
    size = re.search(r"client_max_body_size (\d+)m;", text)
    assert size is not None
    assert int(size[1]) * 1024 * 1024 > LARGEST_BATCH
    assert "proxy_request_buffering on;" in text
    assert "proxy_buffering on;" in text
    assert re.search(r"access_log \S+ failure if=\$failed;", text)
    (logged,) = re.findall(r"log_format failure (.*?);", text, re.DOTALL)
    assert not set(re.findall(r"\$\w+", logged)) & {"$request", "$request_uri", "$uri", "$args", "$remote_addr"}
    assert re.search(r"location = /metrics \{\s+return 404;", text)


def _value(text: str) -> str:
    """A text as Compose reads it where nothing is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
