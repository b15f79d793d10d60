"""Redis by `rediss://`: TLS that knows the server is spoken, and any other server is refused.

No `redis-server` that packages bring is built with TLS, so something before a real one ends it, as in front of many.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from flink_jobs.connected_store import connected_store
from flink_jobs.errors import RedisUnavailableError
from recsvc.user_store import RedisUserStore
from reweigh.cli import main
from reweigh.doctor import check_redis
from reweigh.errors import CommandError
from tests.security.tls import Certificate, make_certificate, tls_before
from tests.servers import fresh_stack


@dataclass(frozen=True)
class Reached:
    """A Redis in the clear, and behind TLS; who signed its certificate, and somebody else."""

    clear: str
    port: int
    own: Certificate
    other: Certificate

    def url(self, signer: Certificate, host: str = "127.0.0.1") -> str:
        """The address as `docs/security.md` writes it."""
        return f"rediss://{host}:{self.port}/0?ssl_check_hostname=true&ssl_ca_certs={quote(str(signer.certificate))}"


@pytest.fixture(scope="module")
def server() -> Iterator[Reached]:
    """A real Redis, and TLS before it."""
    with tempfile.TemporaryDirectory(prefix="tls-") as name, fresh_stack("redis") as stack:
        own, other = (make_certificate(Path(name), each) for each in ("redis", "other"))
        host, _, port = stack.addresses.redis_url.removeprefix("redis://").partition("/")[0].partition(":")
        with tls_before(host, int(port), own) as secured:
            yield Reached(stack.addresses.redis_url, secured, own, other)


def test_job_service_and_commands_speak_tls(server: Reached, tmp_path: Path) -> None:
    """What one has written by way of TLS is there."""
    url = server.url(server.own)
    job = connected_store(url, patience_seconds=20)
    job.open("WriteProfiles", 1, 0)
    job.close()
    service = RedisUserStore(url, timeout_ms=10_000)
    service.start()
    assert service.ping()
    service.stop()
    check_redis(url)
    products = tmp_path / "products.jsonl"
    products.write_text('{"product_id": "p1", "tags": ["red"]}\n')
    assert main(["catalog", "load", str(products), "--redis-url", url]) == 0
    with redis.Redis.from_url(server.clear, decode_responses=True) as client:
        assert client.hget("catalog:products", "p1")


@pytest.mark.parametrize("how", ["another signer", "another name", "no TLS"])
def test_a_server_that_is_not_known_is_refused(server: Reached, how: str) -> None:
    """Nobody speaks to it: neither the job, nor the service, nor a command."""
    url = {
        "another signer": server.url(server.other),
        "another name": server.url(server.own, host="localhost"),
        "no TLS": f"redis://127.0.0.1:{server.port}/0",
    }[how]
    with pytest.raises(RedisUnavailableError):
        connected_store(url, patience_seconds=0.5).open("WriteProfiles", 1, 0)
    service = RedisUserStore(url, timeout_ms=2_000)
    service.start()
    assert not service.ping()
    service.stop()
    with pytest.raises(CommandError):
        check_redis(url)
