"""What a URL of Redis says, and what is refused."""

from __future__ import annotations

import pytest

from flink_jobs.settings import parse_settings
from reccore.access import redis_url_setting
from reccore.errors import SettingError
from reccore.redis_url import CLUSTER, SENTINEL, SERVER, RedisUrl, parse_redis_url


def parsed(text: str) -> RedisUrl:
    """The setting's value, read."""
    return parse_redis_url(redis_url_setting({"REDIS_URL": text}, str))


@pytest.mark.parametrize(
    ("text", "database"),
    [("redis://h:1/3", 3), ("redis://u:p%40@h:1", 0), ("rediss://[::1]:1/0", 0), ("unix:///tmp/redis.sock", 0)],
)
def test_one_server(text: str, database: int) -> None:
    """As it always was; the Redis client reads the rest."""
    assert (parsed(text).kind, parsed(text).database, parsed(text).text) == (SERVER, database, text)


def test_sentinel() -> None:
    """Sentinels' ports may be left out; credentials are those of the servers that hold the data."""
    found = parsed("rediss+sentinel://u%3A:p%2F%40@a:1,b,[::1]:3/my-shop/2?ssl_ca_certs=/ca&sentinel_password=s")
    assert (found.kind, found.service, found.database, found.has_tls) == (SENTINEL, "my-shop", 2, True)
    assert found.hosts == (("a", 1), ("b", 26_379), ("::1", 3))
    assert (found.username, found.password) == ("u:", "p/@")
    assert found.options == (("ssl_ca_certs", "/ca"), ("sentinel_password", "s"))
    assert "p/@" not in repr(found)
    assert parsed("redis+sentinel://a/shop").database == 0


def test_cluster() -> None:
    """Some nodes will do."""
    found = parsed("redis+cluster://a:1,b")
    assert (found.kind, found.hosts, found.has_tls) == (CLUSTER, (("a", 1), ("b", 6_379)), False)


@pytest.mark.parametrize(
    "text",
    [
        "http://h:1",
        "h:1",
        "redis://h:port",
        "redis://u:a/b@h:1/0",
        "unix+cluster:///tmp/redis.sock",
        "redis+raft://h:1",
        "redis+sentinel://h:1",
        "redis+sentinel://h:1/shop/x",
        "redis+sentinel://h:1,/shop",
        "redis+sentinel://h:x/shop",
        "redis+sentinel://u:a?b@h:1/shop",
        "redis+sentinel://h:1/shop?db=1",
        "redis+cluster://",
        "redis+cluster://h:1/1",
        "redis+cluster://h:1?sentinel_password=s",
        "redis+cluster://h:99999",
    ],
)
def test_what_is_refused(text: str) -> None:
    """With what is allowed, and without a word of what may be a password."""
    with pytest.raises(SettingError, match=r"REDIS_URL.*redis\+sentinel://.*redis\+cluster://") as refused:
        parsed(text)
    assert "@" not in text or text not in str(refused.value)


def test_the_job_refuses_another_database_of_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    """When it is submitted, not when it runs."""
    places = ["--kafka-bootstrap", "k:1", "--zookeeper-hosts", "z:1", "--redis-url", "redis+cluster://h:1"]
    assert parse_settings(places, {}).catalog_url == "redis+cluster://h:1"
    with pytest.raises(SystemExit):
        parse_settings([*places, "--catalog-database", "1"], {})
    assert "--catalog-database 1: a Redis Cluster has one database only" in capsys.readouterr().err


def test_another_database() -> None:
    """Of the same server; a cluster has one only."""
    assert parsed("redis://h:1/0").with_database(4) == "redis://h:1/4"
    assert parsed("redis+sentinel://a:1,b:2/shop").with_database(4) == "redis+sentinel://a:1,b:2/shop/4"
    with pytest.raises(ValueError, match="one database only"):
        parsed("redis+cluster://a:1").with_database(4)
