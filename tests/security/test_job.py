"""The job where every server asks who is there: it works with the right credentials, and tells none of them."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from deploy.local import Stack, flink
from deploy.local.cluster_jobs import cancel, list_jobs
from deploy.local.job import build_archive, job_command
from reccore import layout
from reccore.event_types import EventTypes
from reccore.weights import parse_weights
from recsvc.confluent_publisher import ConfluentEventPublisher
from recsvc.ingest import Message, Placed
from reweigh.kafka import end_offsets
from tests.security.broker import PASSWORD, USER, SecuredBroker
from tests.security.test_redis import JOB, acl_lines
from tests.servers import fresh_stack
from tests.waiting import wait_until
from zkconfig.kazoo_client import KazooCoordination
from zkconfig.presence import read_members
from zkconfig.publisher import WeightsPublisher

pytestmark = pytest.mark.timeout(900)

REDIS_PASSWORD, ZOOKEEPER_AUTH = "redis-canary-4b1e", "reweigh:zookeeper-canary-4b1e"
WRONG = "kafka-canary-4b1e"
SECRETS = (REDIS_PASSWORD, ZOOKEEPER_AUTH, "zookeeper-canary", PASSWORD, json.dumps(PASSWORD)[1:-1], WRONG)
PATIENCE = 240
TYPES = EventTypes.from_settings({})


@dataclass
class Secured:
    """A Flink cluster, and servers that ask."""

    stack: Stack
    broker: SecuredBroker
    folder: Path
    admin: redis.Redis

    def submit(self, kafka_password: str) -> subprocess.CompletedProcess[str]:
        """`flink run` as the README has it, with secrets in files."""
        files = {"redis": self._redis_url(), "zookeeper": ZOOKEEPER_AUTH, "kafka": kafka_password}
        for name, secret in files.items():
            (self.folder / name).write_text(secret + "\n")
        places = {**self.stack.env, "KAFKA_BOOTSTRAP": self.broker.tls}
        command = list(job_command(places, self.stack.settings, build_archive(self.stack.home), None))
        at = command.index("--redis-url")
        command[at : at + 2] = ["--redis-url-file", str(self.folder / "redis")]
        command += ["--zookeeper-auth-file", str(self.folder / "zookeeper")]
        command += ["--kafka-security-protocol", "SASL_SSL", "--kafka-sasl-username", USER]
        command += ["--kafka-sasl-password-file", str(self.folder / "kafka")]
        command += ["--kafka-ssl-ca-file", str(self.broker.ca_file)]
        environment = {**os.environ, **flink.environment(self.stack.home)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)

    def _redis_url(self) -> str:
        address = self.stack.addresses.redis_url.removeprefix("redis://")
        return f"redis://{JOB}:{REDIS_PASSWORD}@{address}"

    def put_weights(self, **chosen: int) -> None:
        """Change the weights as ZooKeeper's user, once the job has registered there as the same user."""
        session = KazooCoordination(self.stack.addresses.zookeeper, auth=ZOOKEEPER_AUTH)
        session.start()
        wait_until(lambda: session.connected)
        wait_until(lambda: any(each.role == "writer" for each in read_members(session)), 60)
        weights = parse_weights({"view": 1, "add_to_cart": 3, "purchase": 5} | chosen, TYPES)
        done = WeightsPublisher(session, TYPES).put(weights)
        session.stop()
        assert done.members > 0

    def rest(self, path: str) -> str:
        """What Flink's REST interface answers."""
        with urllib.request.urlopen(self.stack.addresses.flink_rest + path, timeout=20) as answer:
            return str(answer.read().decode("utf-8", "replace"))

    def everything_told(self) -> Iterator[tuple[str, str]]:
        """Every page of the REST interface that tells of settings, jobs or failures, and every log."""
        paths = ["/config", "/jobmanager/config", "/jobmanager/environment", "/jobmanager/log", "/jobmanager/stdout"]
        for job in json.loads(self.rest("/jobs/overview"))["jobs"]:
            pages = ("", "/config", "/plan", "/exceptions", "/accumulators", "/checkpoints", "/jobmanager/config")
            paths += [f"/jobs/{job['jid']}{page}" for page in pages]
        for manager in json.loads(self.rest("/taskmanagers"))["taskmanagers"]:
            paths += [f"/taskmanagers/{manager['id']}{page}" for page in ("", "/log", "/stdout")]
        for path in paths:
            try:
                yield path, self.rest(path)
            except urllib.error.HTTPError as exc:
                with exc:
                    yield path, exc.read().decode("utf-8", "replace")
        for file in self.stack.home.log.iterdir():
            yield file.name, file.read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="module")
def secured(broker: SecuredBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """ZooKeeper, Redis with the documented users, Flink, and the broker."""
    with (
        fresh_stack("zookeeper", "redis", "flink") as stack,
        redis.Redis.from_url(stack.addresses.redis_url, decode_responses=True) as admin,
    ):
        admin.ping()
        for line in acl_lines():
            if "default" not in line:  # with which this test looks at what the job has written
                admin.execute_command(*line.replace("PASSWORD", REDIS_PASSWORD).split())
        yield Secured(stack, broker, tmp_path_factory.mktemp("secrets"), admin)
        cancel(stack.addresses.flink_rest)


def test_the_job_counts_with_credentials_and_tells_none(secured: Secured) -> None:
    """Events and a dead letter through TLS and SASL, as a Redis user and a ZooKeeper user; secrets show nowhere."""
    done = secured.submit(PASSWORD)
    assert done.returncode == 0, done.stdout + done.stderr
    publisher = ConfluentEventPublisher(
        secured.broker.tls, most_in_flight=10, timeout_ms=20_000, access=secured.broker.access()
    )
    _publish(publisher, purchase("1"), Message("view-events", b"x", b"no"))
    wait_until(lambda: secured.admin.hgetall(layout.profile_key("ann")) == {"shoes": "5"}, PATIENCE)
    secured.put_weights(purchase=7)
    _publish(publisher, purchase("2"))
    publisher.stop()
    wait_until(lambda: secured.admin.hgetall(layout.profile_key("ann")) == {"shoes": "14"}, PATIENCE)
    wait_until(lambda: secured.admin.hget(layout.TOTALS, "applied:purchase") == "2", PATIENCE)
    wait_until(lambda: end_offsets(secured.broker.internal, ["dead-letter-events"])["dead-letter-events"] > 0, PATIENCE)
    assert _secrets_in(secured, done.stdout + done.stderr) == []


def test_a_wrong_password_for_kafka_is_refused(secured: Secured) -> None:
    """Nothing is read; what Flink says of it names the cause and no secret."""
    rest = secured.stack.addresses.flink_rest
    cancel(rest)
    wait_until(lambda: not [job for job in list_jobs(rest) or [] if job.exists], 60)
    read = secured.admin.hgetall(layout.TOTALS)
    done = secured.submit(WRONG)
    assert done.returncode == 0, done.stdout + done.stderr

    def failed() -> bool:
        jobs: list[dict[str, Any]] = json.loads(secured.rest("/jobs/overview"))["jobs"]
        return any("SaslAuthenticationException" in secured.rest(f"/jobs/{job['jid']}/exceptions") for job in jobs)

    wait_until(failed, PATIENCE, pause=0.5)
    assert secured.admin.hgetall(layout.TOTALS) == read
    assert _secrets_in(secured, done.stdout + done.stderr) == []


def purchase(event_id: str) -> Message:
    """Ann buys shoes."""
    event = {"event_id": event_id, "user_id": "ann", "product_id": "p", "event_type": "purchase", "tags": ["shoes"]}
    return Message("purchase-events", b"ann", json.dumps(event).encode())


def _publish(publisher: ConfluentEventPublisher, *messages: Message) -> None:
    wait_until(lambda: all(isinstance(each, Placed) for each in publisher.publish(messages)), 60)


def _secrets_in(secured: Secured, said: str) -> list[tuple[str, str]]:
    told = [("flink run", said), *secured.everything_told()]
    return [(name, secret) for name, text in told for secret in SECRETS if secret in text]
