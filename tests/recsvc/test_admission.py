"""Keys and limits of the routes, on stand-ins."""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY

from recsvc.admission import ApiKeys
from recsvc.app import create_app
from recsvc.rate_limit import Rate
from recsvc.settings import Settings, settings_from
from tests.recsvc.conftest import TYPES, Bench

PROBLEM = "application/problem+json"
WEIGHTS = {"view": 1, "add_to_cart": 3, "purchase": 5}
EVENT = {"user_id": "u", "product_id": "p", "event_type": "view"}
FIRST, SECOND = Settings(event_types=TYPES, config_api_keys=("new",)), ("new", "old")


@pytest.fixture
def serve(bench: Bench) -> Any:
    """Gives a client of the service with other settings."""

    def start(**chosen: Any) -> FlaskClient:
        return create_app(replace(FIRST, **chosen), bench.services).test_client()

    return start


def put(http: FlaskClient, key: str | None, **options: Any) -> Any:
    """Change the weights with a key."""
    headers = {} if key is None else {"X-API-Key": key}
    return http.put("/api/config/weights", json=WEIGHTS, headers=headers, **options)


def from_address(address: str) -> dict[str, Any]:
    """The option of a request that comes from another address."""
    return {"environ_base": {"REMOTE_ADDR": address}}


def test_two_keys_are_valid_while_one_takes_the_others_place(serve: Any) -> None:
    """Both change the configuration, on either header; afterwards the old one doesn't any more."""
    both, one = serve(config_api_keys=SECOND), serve()
    assert [put(both, key).status_code for key in (*SECOND, "newold", "")] == [200, 200, 403, 401]
    assert both.put("/api/config/weights", json=WEIGHTS, headers={"Authorization": "Bearer old"}).status_code == 200
    assert [put(one, key).status_code for key in SECOND] == [200, 403]


def test_keys_are_compared_whole_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``hmac.compare_digest``, on digests of one length, also after a key has matched."""
    compared: list[tuple[bytes, bytes]] = []
    really = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return really(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keys = ApiKeys(SECOND)
    assert [keys.name_of(each) for each in ("new", "old", "n", "")] == ["key 1", "key 2", None, None]
    assert len(compared) == 8
    assert {len(each) for pair in compared for each in pair} == {32}


def test_without_limits_nothing_is_limited(serve: Any) -> None:
    """As in the local stack: reads and ingest are free unless something else is set."""
    settings = settings_from({})
    assert (settings.read_limit, settings.ingest_limit, settings.config_limit) == (None, None, Rate(1200, 60))
    assert settings_from({"API_CONFIG_LIMIT": "none"}).config_limit is None
    http = serve()
    assert {http.get("/recommend/u").status_code for _ in range(50)} == {200}
    assert {http.post("/update", json=EVENT).status_code for _ in range(50)} == {202}


def test_reads_and_ingest_have_limits_of_their_own(serve: Any) -> None:
    """429 as a problem with the seconds to wait; the limits don't share; health is never limited."""
    http = serve(read_limit=Rate(3, 3600), ingest_limit=Rate(2, 3600))
    before = [counted("read"), counted("ingest"), counted("config")]
    asked = [http.get("/recommend/u"), http.get("/api/config/weights"), http.post("/profiles", json={"user_ids": []})]
    assert [each.status_code for each in asked] == [200, 200, 200]
    refused = [http.get("/profile/u"), http.get("/api/config/weights"), http.post("/profiles", json={"user_ids": []})]
    refused += [http.post(path, json=EVENT) for path in ("/update", "/update", "/update/batch")][2:]
    refused += [http.post("/send_rating", json={}), http.post("/push_interest/", json={}), http.get("/interests/u")]
    for answer in refused:
        assert (answer.status_code, answer.content_type) == (429, PROBLEM)
        assert 1 <= int(answer.headers["Retry-After"]) <= 1_800
        assert answer.json["status"] == 429
    assert [http.get(path).status_code for path in ("/livez", "/health", "/metrics", "/docs")] == [200] * 4
    assert put(http, "new").status_code == 200
    after = [counted("read"), counted("ingest"), counted("config")]
    assert [late - early for late, early in zip(after, before, strict=True)] == [4, 3, 0]


def test_each_address_has_its_limit(serve: Any) -> None:
    """One caller that asks too often stops no other."""
    http = serve(read_limit=Rate(1, 3600))
    statuses = [http.get("/recommend/u", **from_address(each)).status_code for each in ("10.0.0.1", "10.0.0.2") * 2]
    assert statuses == [200, 200, 429, 429]


def test_changes_are_limited_by_key(serve: Any) -> None:
    """A key has its limit wherever it is used; the other key has its own; a caller without one is not affected."""
    http = serve(config_api_keys=SECOND, config_limit=Rate(2, 3600))
    assert [put(http, "new", **from_address(f"10.0.0.{n}")).status_code for n in range(3)] == [200, 200, 429]
    assert put(http, "old").status_code == 200
    assert put(http, None).status_code == 401


def test_keys_are_not_guessed_faster_than_the_limit(serve: Any) -> None:
    """After so many wrong ones an address isn't told any more whether a key is right; other addresses are."""
    http = serve(config_limit=Rate(3, 3600))
    assert [put(http, key).status_code for key in ("a", None, "b", "c", "new")] == [403, 401, 403, 429, 429]
    assert put(http, "new", **from_address("10.0.0.9")).status_code == 200


def test_limits_hold_while_redis_is_away(bench: Bench, serve: Any) -> None:
    """They need nobody, so they go on, and refuse with 429, never with 500."""
    http = serve(read_limit=Rate(2, 3600))
    bench.users.up = False
    assert [http.get("/recommend/u").status_code for _ in range(4)] == [200, 200, 429, 429]


def test_the_address_is_the_clients_only_behind_a_trusted_proxy(serve: Any) -> None:
    """Without one, X-Forwarded-For is what anybody may write; with one, its last entry counts, not what came before."""
    plain, behind = serve(read_limit=Rate(1, 3600)), serve(read_limit=Rate(1, 3600), trusted_proxies=1)

    def statuses(http: FlaskClient, *forwarded: str) -> list[int]:
        return [http.get("/recommend/u", headers={"X-Forwarded-For": each}).status_code for each in forwarded]

    assert statuses(plain, "10.0.0.1", "10.0.0.2") == [200, 429]
    assert statuses(behind, "10.0.0.1", "10.0.0.2", "10.9.9.9, 10.0.0.1") == [200, 200, 429]


def test_labels_do_not_grow_with_the_number_of_callers(serve: Any) -> None:
    """What is counted is which limit it was, never who."""
    http = serve(read_limit=Rate(1, 3600))
    for number in range(200):
        http.get("/recommend/u", **from_address(f"10.1.0.{number}"))
        http.get("/recommend/u", **from_address(f"10.1.0.{number}"))
    text = http.get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("reweigh_limited_requests_total{")]
    assert {line.partition("}")[0] for line in lines} <= {
        f'reweigh_limited_requests_total{{limit="{name}"' for name in ("read", "ingest", "config")
    }
    assert "10.1.0." not in text


def counted(limit: str) -> float:
    """How many requests a limit has refused."""
    return REGISTRY.get_sample_value("reweigh_limited_requests_total", {"limit": limit}) or 0.0
