"""One value in every secret setting, looked for wherever it could come out: it never does."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from deploy.local import Stack
from faults.made_up import Maker
from flink_jobs.settings import parse_settings
from recsvc.settings import settings_from
from reweigh.cli import main
from reweigh.rabbitmq.settings import rabbit_settings
from reweigh.settings import read_settings
from tests.security.broker import SecuredBroker
from tests.security.served import ROOT, served
from tests.servers import fresh_stack
from tests.waiting import wait_until

CANARY = "canary-4b1e"
EVENT = {"user_id": "u", "product_id": "p", "event_type": "view"}
WEIGHTS = {"view": 1, "add_to_cart": 3, "purchase": 5}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Servers that refuse the canary (Redis), or don't ask (ZooKeeper)."""
    with fresh_stack("zookeeper", "redis") as started:
        yield started


@pytest.fixture
def secrets(stack: Stack, broker: SecuredBroker) -> dict[str, str]:
    """The canary in every secret."""
    address = stack.addresses.redis_url.removeprefix("redis://")
    return {
        "CONFIG_API_KEY": f"{CANARY}-1,{CANARY}-2",
        "REDIS_URL": f"redis://reweigh:{CANARY}@{address}",
        "ZOOKEEPER_HOSTS": stack.addresses.zookeeper,
        "ZOOKEEPER_AUTH": f"reweigh:{CANARY}",
        "KAFKA_BOOTSTRAP": broker.tls,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_USERNAME": "reweigh",
        "KAFKA_SASL_PASSWORD": CANARY,
        "KAFKA_SSL_CA_FILE": str(broker.ca_file),
        "RABBITMQ_HOST": "127.0.0.1",
        "RABBITMQ_PORT": "1",
        "RABBITMQ_PASSWORD": CANARY,
        "MONGODB_URL": f"mongodb://reweigh:{CANARY}@127.0.0.1:1/shop",
    }


def test_settings_do_not_show_it(secrets: dict[str, str]) -> None:
    """The text of the settings of service, job, bridge and commands, as a log or a traceback would show it."""
    job = parse_settings([], secrets)
    commands = read_settings(environment=secrets)
    service, bridge = settings_from(secrets), rabbit_settings(secrets)
    assert CANARY in bridge.password
    assert CANARY in job.redis_url
    assert CANARY in commands.redis_url
    assert CANARY in service.redis_url
    for settings in (job, commands, service, bridge):
        assert CANARY not in f"{settings} {settings!r}"


def test_the_service_does_not_tell_it(secrets: dict[str, str], tmp_path: Path) -> None:
    """Answers of every route, right and wrong requests, their headers, metrics, documentation, the log."""
    weights, key = "/api/config/weights", f"{CANARY}-2"
    with served(tmp_path, secrets) as service:
        changed = lambda: service.ask(weights, "PUT", WEIGHTS, X_API_Key=key)  # noqa: E731
        wait_until(lambda: changed().status == 200)
        answers = [
            changed(),
            service.ask(weights, "PUT", WEIGHTS),
            service.ask(weights, "PUT", WEIGHTS, Authorization=f"Bearer {key}x"),
            service.ask(weights, "PUT", {"view": -1}, X_API_Key=key),
            service.ask(weights, "PUT", WEIGHTS, X_API_Key=key, If_Match='"1"'),
            service.ask("/api/config/nothing", "PUT", WEIGHTS, X_API_Key=key),
            service.ask("/update", "POST", EVENT),
            service.ask("/update/batch", "POST", [EVENT, {}]),
            *(service.ask(path, X_API_Key=key) for path in ("/nothing", "/docs", "/redoc")),
        ]
        described = service.ask("/openapi.json", X_API_Key=key)
        document = json.loads(described.text[described.text.index("{") :])
        for right in (1.0, 0.5):
            maker = Maker(document, random.Random(1), right=right)
            requests = [maker.request(*route) for route in maker.routes]
            answers += [service.ask(m.target, m.method, m.body, X_API_Key=key, **m.headers) for m in requests]
        answers += [described, service.ask("/metrics")]
        command_lines = " ".join(_command_line(pid) for pid in (service.process.pid, *_children(service.process.pid)))
    assert {each.status for each in answers} >= {200, 400, 401, 403, 404, 412, 503}
    assert not [each.text for each in answers if CANARY in each.text]
    assert CANARY not in command_lines
    log = service.log.read_text()
    assert log
    assert CANARY not in log


def test_the_sweeper_does_not_tell_it(secrets: dict[str, str], tmp_path: Path) -> None:
    """Its log, while Redis refuses it."""
    log = tmp_path / "sweeper.log"
    command = [sys.executable, "-m", "recsvc.sweeper"]
    with (
        log.open("w") as sink,
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **secrets}, stdout=sink, stderr=sink) as process,
    ):
        wait_until(lambda: process.poll() is not None or "trying again" in log.read_text(), 60)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert "trying again" in log.read_text()
    assert CANARY not in log.read_text()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("REDIS_URL", f"redis://reweigh:{CANARY}#@127.0.0.1:1/0"),
        ("REDIS_URL", f"http://reweigh:{CANARY}@127.0.0.1:1/0"),
        ("ZOOKEEPER_AUTH", CANARY),
        ("CONFIG_API_KEY", f"{CANARY},{CANARY},{CANARY}"),
        ("KAFKA_SECURITY_PROTOCOL", "SSL"),
    ],
)
def test_a_service_that_does_not_start_does_not_tell_it(
    secrets: dict[str, str], tmp_path: Path, key: str, value: str
) -> None:
    """The log names the setting and what is allowed."""
    environment = {**os.environ, **secrets, key: value, "API_BIND": "127.0.0.1:0", "API_WORKERS": "1"}
    environment["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path / "metrics")
    command = [str(Path(sys.executable).with_name("gunicorn")), "-c", "recsvc/gunicorn_conf.py", "recsvc.wsgi:app"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != 0
    assert f"{key}=" in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_commands_do_not_tell_it(
    stack: Stack,
    secrets: dict[str, str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What they print and what they complain of, refused by Redis and Kafka; RabbitMQ and MongoDB aren't there.

    All at once, since most of them wait for an answer of Kafka; those that would wait for ever as processes.
    """
    monkeypatch.setattr("reweigh.doctor.PATIENCE_SECONDS", 3.0)
    monkeypatch.setattr("reweigh.verify.log._ANSWER_SECONDS", 5.0)
    monkeypatch.setattr("reweigh.mongodb._PATIENCE_MS", 200)
    file, events = tmp_path / "some.env", tmp_path / "events.jsonl"
    file.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))
    events.write_text('{"user_id": "u", "product_id": "p", "event_type": "view"}\n')
    waiting = {
        ("bridge", "rabbitmq"): "connecting again",
        ("archive", "run"): "does not answer",
        ("follow",): "waiting, nothing is lost",
    }
    open_redis = ["--redis-url", stack.addresses.redis_url]  # else it would not come to MongoDB
    with ExitStack() as held:
        logs = {each: held.enter_context(_running([*each, "--env", str(file)], tmp_path)) for each in waiting}
        ending = [
            ["doctor"],
            ["load", str(events)],
            ["catalog", "load", str(events)],
            ["catalog", "send", str(events)],
            ["catalog", "mongodb", "--collection", "products"],
            ["catalog", "mongodb", "--collection", "products", *open_redis],
            ["catalog", "mongodb", "--url", f"mongodb://reweigh:{CANARY}@@h:1/shop", *open_redis],
            ["recommend", "publish"],
            ["verify"],
            ["features", str(tmp_path / "features.parquet")],
        ]
        with ThreadPoolExecutor(len(ending)) as pool:
            codes = list(pool.map(lambda each: main([*each, "--env", str(file)]), ending))
        assert codes == [1] * len(ending)
        assert main(["train", "--env", str(file)]) == 1  # it handles signals, which takes the main thread
        assert main(["catalog", "load", str(events), "--redis-url", f"redis://:{CANARY}#x@h:1"]) == 1
        for each, log in logs.items():
            wait_until(lambda text=waiting[each], log=log: text in log.read_text(), 120, what=f"{each}")  # type: ignore[misc]
    said = capfd.readouterr()
    assert "FAILED" in said.out
    for name in ("REDIS_URL", "Kafka", "Redis", "MongoDB can't be read", "no URL of MongoDB"):
        assert name in said.err
    assert CANARY not in said.out + said.err + "".join(log.read_text() for log in logs.values())


@contextmanager
def _running(arguments: list[str], folder: Path) -> Iterator[Path]:
    """Run a command in a process of its own; gives where its output goes."""
    log = folder / f"{arguments[0]}.log"
    state = {"ARCHIVE_URL": str(folder / "archive"), "ARCHIVE_STATE": str(folder / "state")}
    command = [sys.executable, "-m", "reweigh.cli", *arguments]
    with (
        log.open("w") as sink,
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **state}, stdout=sink, stderr=sink) as process,
    ):
        try:
            yield log
        finally:
            process.terminate()
            process.wait(60)


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
