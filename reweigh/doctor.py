"""`reweigh doctor`: does each server take and give back what is entrusted to it?

Each check uses a topic, key or node of a unique name and removes it, so it disturbs nobody and runs against any
deployment.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import redis
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from reccore.access import OPEN, KafkaAccess
from reccore.errors import ReweighError
from redisaccess.clients import client_of
from reweigh.errors import CommandError, need
from reweigh.settings import Settings
from zkconfig.kazoo_client import digest_options

PATIENCE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; ``milliseconds`` is the time of the whole exchange, connecting included."""

    server: str
    address: str
    healthy: bool
    milliseconds: float
    detail: str

    def line(self) -> str:
        """Say it in a line."""
        verdict = "ok    " if self.healthy else "FAILED"
        return f"{self.server:<10} {verdict} {self.milliseconds:8.1f} ms  {self.address}  {self.detail}"


def examine(settings: Settings) -> Iterator[Finding]:
    """Check Kafka, Redis and ZooKeeper, which must be set, and the service and Flink when they are."""
    checks: list[tuple[str, str, str, bool, Callable[[str], str]]] = [
        (
            "Kafka",
            "KAFKA_BOOTSTRAP",
            settings.kafka_bootstrap,
            True,
            partial(check_kafka, access=settings.kafka_access),
        ),
        ("Redis", "REDIS_URL", settings.redis_url, True, check_redis),
        (
            "ZooKeeper",
            "ZOOKEEPER_HOSTS",
            settings.zookeeper_hosts,
            True,
            partial(check_zookeeper, auth=settings.zookeeper_auth),
        ),
        ("API", "API_URL", settings.api_url, False, lambda url: check_http(f"{url}/readyz")),
        ("Flink", "FLINK_REST", settings.flink_rest, False, lambda url: check_http(f"{url}/overview")),
    ]
    for server, key, address, required, check in checks:
        if address:
            yield _timed(server, address, check)
        elif required:
            yield Finding(server, "-", False, 0.0, f"{key} is not set in {settings.source}")


def _timed(server: str, address: str, check: Callable[[str], str]) -> Finding:
    began = time.perf_counter()
    try:
        healthy, detail = True, check(address)
    except ReweighError as exc:
        healthy, detail = False, str(exc)
    return Finding(server, _without_password(address), healthy, (time.perf_counter() - began) * 1000, detail)


def _without_password(address: str) -> str:
    scheme, separator, rest = address.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def check_kafka(bootstrap: str, access: KafkaAccess = OPEN) -> str:
    """Send a message to a topic made for it and read it back. Raises :class:`CommandError`."""
    kafka = need("reweigh.kafka", "data")
    topic: str = kafka.round_trip(bootstrap, uuid.uuid4().bytes, PATIENCE_SECONDS, access=access)
    return f"a message through topic {topic}, which is gone again"


def check_redis(url: str) -> str:
    """Set a key that expires by itself, get it, delete it. Raises :class:`CommandError`."""
    key, value = f"reweigh:doctor:{uuid.uuid4().hex}", uuid.uuid4().bytes
    try:
        client = client_of(url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS)
        with client:
            client.set(key, value, ex=60)
            given_back = client.get(key)
            client.delete(key)
    except (redis.RedisError, ValueError) as exc:
        raise CommandError(f"Redis does not take a key: {exc}") from exc
    if given_back != value:
        raise CommandError(f"Redis gave back {given_back!r} for {key}")
    return "a key set, read, deleted"


def check_zookeeper(hosts: str, auth: str = "") -> str:
    """Create an ephemeral node, read it, delete it. Raises :class:`CommandError`."""
    path, value = f"/reweigh-doctor-{uuid.uuid4().hex}", uuid.uuid4().bytes
    client = KazooClient(hosts, timeout=PATIENCE_SECONDS, **digest_options(auth))
    try:
        client.start(timeout=PATIENCE_SECONDS)
        client.create(path, value, ephemeral=True)
        given_back, _ = client.get(path)
        client.delete(path)
    except (KazooException, KazooTimeoutError, OSError, ValueError) as exc:
        raise CommandError(f"ZooKeeper does not take a node: {str(exc) or type(exc).__name__}") from exc
    finally:
        client.stop()
        client.close()
    if given_back != value:
        raise CommandError(f"ZooKeeper gave back {given_back!r} for {path}")
    return "a node created, read, deleted"


def check_http(url: str) -> str:
    """Fetch a URL that answers 200 when all is well. Raises :class:`CommandError`."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:  # noqa: S310 - settings allow http only
            return f"{response.status} from {url}"
    except urllib.error.HTTPError as exc:
        with exc:
            raise CommandError(f"{exc.code} from {url}: {exc.read(200).decode('utf-8', 'replace')}") from exc
    except (OSError, ValueError) as exc:
        raise CommandError(f"{url} does not answer: {exc}") from exc
