"""``REDIS_URL``: one server, a master that Sentinel names, or a Redis Cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

SERVER: Final = "server"
SENTINEL: Final = "sentinel"
CLUSTER: Final = "cluster"

ALLOWED: Final = (
    "redis://[[user]:password@]host:port/database, rediss://… or unix://…; "
    "redis+sentinel://[[user]:password@]host:port[,host:port…]/service[/database]; "
    "redis+cluster://[[user]:password@]host:port[,host:port…]; rediss+… for TLS; special characters as %XX"
)
_SERVER_SCHEMES: Final = ("redis", "rediss", "unix")
_KINDS: Final = {"sentinel": SENTINEL, "cluster": CLUSTER}
_DEFAULT_PORTS: Final = {SENTINEL: 26_379, CLUSTER: 6_379}
_OPTIONS: Final = {
    SENTINEL: ("ssl_ca_certs", "sentinel_username", "sentinel_password"),
    CLUSTER: ("ssl_ca_certs",),
}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """What a URL of Redis says. User and password are those of the servers that hold the data."""

    text: str = field(repr=False)
    kind: str
    hosts: tuple[tuple[str, int], ...] = ()
    """Of the Sentinels, or of some nodes of the cluster; empty for one server, which the Redis client reads itself."""
    service: str = ""
    """What the Sentinels call the master."""
    database: int = 0
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    has_tls: bool = False
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def with_database(self, number: int) -> str:
        """Give the URL of another database of the same server. Raises ``ValueError`` for a cluster, which has one."""
        if self.kind == CLUSTER:
            raise ValueError("a Redis Cluster has one database only")
        path = f"/{self.service}/{number}" if self.kind == SENTINEL else f"/{number}"
        return urlunsplit(urlsplit(self.text)._replace(path=path))


def parse_redis_url(text: str) -> RedisUrl:
    """Read a URL of Redis. Raises ``ValueError``, which tells nothing of the text, since that may hold a password."""
    scheme, _, kind_name = (parts := urlsplit(text)).scheme.partition("+")
    kind = _KINDS.get(kind_name) if kind_name else SERVER
    if kind is None or scheme not in (_SERVER_SCHEMES if kind == SERVER else _SERVER_SCHEMES[:2]):
        raise ValueError(ALLOWED)
    # A password with "/", "#" or "?" in it ends the address early.
    if "@" in text and "@" not in parts.netloc:
        raise ValueError(ALLOWED)
    if kind == SERVER:
        database = _server_database(parts.path) if scheme != "unix" and _has_port(text) else 0
        return RedisUrl(text, kind, database=database, has_tls=scheme == "rediss")
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    service, database = _service_and_database(kind, parts.path)
    options = tuple(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    if parts.fragment or any(name not in _OPTIONS[kind] for name, _ in options):
        raise ValueError(ALLOWED)
    return RedisUrl(
        text,
        kind,
        hosts=tuple(_host(each, _DEFAULT_PORTS[kind]) for each in hosts.split(",")),
        service=service,
        database=database,
        username=unquote(username),
        password=unquote(password),
        has_tls=scheme == "rediss",
        options=options,
    )


def _has_port(text: str) -> bool:
    try:
        _ = urlsplit(text).port
    except ValueError:
        raise ValueError(ALLOWED) from None
    return True


def _server_database(path: str) -> int:
    text = path.strip("/")
    return int(text) if text.isascii() and text.isdigit() else 0


def _service_and_database(kind: str, path: str) -> tuple[str, int]:
    service, _, database = path.strip("/").partition("/")
    if kind == CLUSTER:
        if service not in ("", "0") or database:
            raise ValueError(f"{ALLOWED}; a cluster has one database only")
        return "", 0
    if not service or (database and not (database.isascii() and database.isdigit())):
        raise ValueError(ALLOWED)
    return unquote(service), int(database or 0)


def _host(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(ALLOWED) from None
    if not host:
        raise ValueError(ALLOWED)
    return host, default_port if port is None else port
