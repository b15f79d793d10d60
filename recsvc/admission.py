"""Who may ask for what, and how often: the keys for changes of the configuration, and the limits of each caller."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from flask import Flask, request

from recsvc import metrics
from recsvc.errors import Problem
from recsvc.rate_limit import Limiter, Rate
from recsvc.settings import Settings

_READING: Final = ("GET", "HEAD")


class ApiKeys:
    """The valid keys, as digests only: none, one, or two while one takes the other's place."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = tuple(_digest(each) for each in keys)

    def __bool__(self) -> bool:
        """Whether a key is required."""
        return bool(self._digests)

    def name_of(self, given: str) -> str | None:
        """Give the name of a valid key, None for any other text.

        Digests of one length are compared, all of them and whole, so that the time tells nothing of a key.
        """
        digest, found = _digest(given), None
        for position, each in enumerate(self._digests, 1):
            if hmac.compare_digest(digest, each):
                found = f"key {position}"
        return found


class ConfigAdmission:
    """Lets changes of the configuration in: a caller with a right key by that key, any other by its address."""

    def __init__(self, keys: ApiKeys, limit: Rate | None) -> None:
        self._keys = keys
        self._limiter = None if limit is None else Limiter(limit)

    def admit(self) -> str:
        """Let the current request in, and give the name of its key. Raises ``Problem``: 401, 403, 429.

        An address that has used up its limit has no further key looked at, so keys can't be guessed any faster.
        """
        address = caller_address(request.remote_addr)
        if self._limiter is not None:
            _refuse(self._limiter, self._limiter.wait(address), "config")
        given = _given_key()
        name = self._keys.name_of(given) if self._keys else address
        if self._limiter is not None:
            _refuse(self._limiter, self._limiter.take(name or address), "config")
        if not given and name is None:
            headers = {"WWW-Authenticate": 'Bearer realm="reweigh"'}
            raise Problem(401, "a key is required: Authorization: Bearer … or X-API-Key", headers=headers)
        if name is None:
            raise Problem(403, "the key is not the right one")
        return name if self._keys else "no key"


def limit_requests(app: Flask, settings: Settings) -> None:
    """Have reading and ingest limited by address, where limits are set. Health, metrics and documents never are."""
    read = None if settings.read_limit is None else Limiter(settings.read_limit)
    ingest = None if settings.ingest_limit is None else Limiter(settings.ingest_limit)

    def limit() -> None:
        is_reading = request.method in _READING
        if request.blueprint == "ingest" or (request.blueprint == "interests" and not is_reading):
            name, limiter = "ingest", ingest
        elif request.blueprint in ("users", "products", "recommend") or (
            request.blueprint in ("config", "interests") and is_reading
        ):
            name, limiter = "read", read
        else:
            return
        if limiter is not None:
            _refuse(limiter, limiter.take(caller_address(request.remote_addr)), name)

    if read is not None or ingest is not None:
        app.before_request(limit)


def caller_address(remote: str | None) -> str:
    """Give what stands for a caller: an IPv4 address, or the 64 bits of an IPv6 address that one subscriber has."""
    try:
        address = ip_address(remote or "")
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((address, 64), strict=False))
    return str(address)


def _refuse(limiter: Limiter, wait: float, name: str) -> None:
    if not wait:
        return
    metrics.limited_requests.labels(name).inc()
    headers = {"Retry-After": str(max(1, math.ceil(wait)))}
    raise Problem(429, f"more requests than {limiter.rate} (the limit of {name} requests)", headers=headers)


def _given_key() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return request.headers.get("X-API-Key") or (token.strip() if scheme.lower() == "bearer" else "")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
