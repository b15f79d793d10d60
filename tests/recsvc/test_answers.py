"""What the routes answer, on stand-ins."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, unquote

import pytest
from jsonschema import ValidationError, validate
from prometheus_client import REGISTRY

from reccore import encoding
from reccore.events import LARGEST_EVENT
from recsvc import metrics
from recsvc.errors import StoreRefused
from recsvc.user_store import StoredUser
from tests.recsvc.conftest import Bench
from tests.waiting import wait_until

PROBLEM = "application/problem+json"


def rows(**tags: str) -> dict[str, str]:
    """A counts hash; the newest event was at 1,700,000,000,123 ms. What stands after ``;`` is the second of writing."""
    parts = {tag: row.partition(";") for tag, row in tags.items()}
    return {tag: f"{counts};1700000000123{mark}{second}" for tag, (counts, mark, second) in parts.items()}


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """Three products and one user who likes shoes and has bought p1."""
    collected = bench.statistics.collected
    collected.put_product("p1", [(10, 0, 0), 1_600_000_000_000, ["shoes"]])
    collected.put_product("p2", [(5, 0, 0), 1_600_000_001_000, ["shoes"]])
    collected.put_product("p3", [(6, 0, 0), 1_600_000_002_000, ["hats"]])
    collected.put_tag("shoes", [(15, 0, 0), 0])
    collected.put_tag("hats", [(6, 0, 0), 0])
    bench.statistics.publish()
    bench.users.users["ann"] = StoredUser(rows(shoes="100,2,0", hats="1,0,0", bags="1,0,0"), frozenset({"p1"}))
    return bench


def test_recommend_names_its_version_and_is_exact_for_it(shop: Bench) -> None:
    """Scores are counts times weights in force, before and after a change, and products follow."""
    first = shop.http.get("/recommend/ann?n=2").json
    assert first["tags"] == [{"tag": "shoes", "score": 106}, {"tag": "bags", "score": 1}]
    assert (first["source"], first["degraded"], first["as_of"]) == ("profile", False, "2023-11-14T22:13:20.123Z")
    assert [(each["product_id"], each["source"]) for each in first["products"]] == [("p2", "tags"), ("p3", "tags")]
    assert all(each["score"] == pytest.approx(each["popularity"] * each["affinity"]) for each in first["products"])
    done = shop.put_weights(view=0.5, add_to_cart=0, purchase=0).json
    second = shop.http.get("/recommend/ann").json
    assert second["weights_version"] == done["version"] > first["weights_version"]
    assert second["tags"][0] == {"tag": "shoes", "score": 50}
    assert second["tags"][1] == {"tag": "bags", "score": 0.5}  # the tie with hats is broken by name
    assert [each["popularity"] for each in second["products"]] == [2.5, 3]


def test_an_unknown_user_gets_what_is_popular(shop: Bench) -> None:
    """No 404, no tags, the newest event of the products named; so does one whose scores are all 0, with these tags."""
    shop.users.users["bob"] = StoredUser(rows(shoes="0,0,7"), frozenset({"p3"}))
    answer = shop.http.get("/recommend/nobody?n=2").json
    assert (answer["source"], answer["tags"], answer["as_of"]) == ("popular", [], "2020-09-13T12:26:42.000Z")
    assert [(each["product_id"], each["score"], each["source"]) for each in answer["products"]] == [
        ("p1", 10, "popular"),
        ("p3", 6, "popular"),
    ]
    shop.put_weights(view=1, add_to_cart=1, purchase=0)
    answer = shop.http.get("/recommend/bob").json
    assert (answer["source"], answer["tags"]) == ("popular", [{"tag": "shoes", "score": 0}])
    assert [each["product_id"] for each in answer["products"]] == ["p1", "p2"]


def test_popular_products_fill_up_as_configured(shop: Bench) -> None:
    """Where fewer rank by tags than are wanted, popular ones follow; the ranking document says whether."""
    shop.users.users["eve"] = StoredUser(rows(shoes="1000000,0,0"), frozenset())
    shop.put_weights(view=1e300, add_to_cart=0, purchase=0)
    assert len(shop.http.get("/recommend/eve?n=3").json["products"]) == 3
    key = {"X-API-Key": "key"}
    put = shop.http.put("/api/config/ranking", json={"default_n": 1, "fill_with_popular": False}, headers=key)
    assert put.json["ranking"] == {"default_n": 1, "fill_with_popular": False, "rating_weight": 3.0}
    assert len(shop.http.get("/recommend/ann").json["tags"]) == 1
    assert len(shop.http.get("/recommend/ann?n=2").json["tags"]) == 2
    for wrong in ({"default_n": 0}, {"rating_weight": -1}, {"rating_weight": True}, {"rating_weight": "3"}):
        assert shop.http.put("/api/config/ranking", json=wrong, headers=key).status_code == 400


@pytest.mark.parametrize("large", [1e300, 1.7e308])
def test_scores_beyond_the_doubles_are_numbers(shop: Bench, large: float) -> None:
    """Weights near the largest double are valid, and no answer fails over them."""
    assert shop.put_weights(view=large, add_to_cart=large, purchase=large).status_code == 200
    for user in ("ann", "nobody"):
        answer = shop.http.get(f"/recommend/{user}")
        assert answer.status_code == 200
        assert all(isinstance(each["score"], int | float) for each in answer.json["tags"] + answer.json["products"])


def test_expired_tags_are_left_out(shop: Bench) -> None:
    """A tag without events for longer than its time to live is not answered any more, swept or not."""
    shop.users.users["ann"] = StoredUser(rows(shoes="1,0,0;901", hats="1,0,0;899", bags="1,0,0"), frozenset())
    assert [each["tag"] for each in shop.http.get("/recommend/ann").json["tags"]] == ["bags", "shoes"]
    assert shop.http.get("/profile/ann").json["tags"] == {"bags": 1, "shoes": 1}
    shop.clock[0] = 2_000.0
    assert shop.http.get("/profile/ann").json["tags"] == {"bags": 1}


def test_profiles_of_many_users(shop: Bench) -> None:
    """One shape for one and for many; an unknown user has no tags; ids may be integers."""
    shop.users.users["7"] = StoredUser(rows(hats="1,1,1"), frozenset())
    many = shop.http.post("/profiles", json={"user_ids": ["ann", 7, "nobody", "ann"]}).json
    assert list(many["profiles"]) == ["ann", "7", "nobody"]
    assert many["profiles"]["7"] == shop.http.get("/profile/7").json
    assert many["profiles"]["7"]["tags"] == {"hats": 9}
    assert many["profiles"]["nobody"]["tags"] == {}
    assert shop.http.post("/profiles", json={"user_ids": []}).json["profiles"] == {}


@pytest.mark.parametrize("user_id", ["a/b", "//x", "ü €/😀", "x" * 128, "{a}b", "a b?c=%2F", ".hidden", "a//"])
def test_any_text_is_a_user_id(shop: Bench, user_id: str) -> None:
    """Slashes, braces and every other character, in the path and in a body."""
    shop.users.users[user_id] = StoredUser(rows(hats="2,0,0"), frozenset())
    answer = shop.http.get(f"/profile/{quote(user_id, safe='')}").json
    assert (answer["user_id"], answer["tags"]) == (user_id, {"hats": 2})
    assert shop.http.get(f"/recommend/{quote(user_id, safe='')}").json["user_id"] == user_id
    assert user_id in shop.http.post("/profiles", json={"user_ids": [user_id]}).json["profiles"]


def test_without_redis_or_zookeeper_answers_come_from_memory(shop: Bench) -> None:
    """Known users as they were seen last, others what is popular, and each answer says that it is degraded."""
    known = shop.http.get("/recommend/ann").json
    shop.users.up = False
    answer = shop.http.get("/recommend/ann").json
    assert answer == {**known, "degraded": True}
    assert shop.http.get("/recommend/nobody").json["source"] == "popular"
    assert shop.http.post("/profiles", json={"user_ids": ["ann"]}).json["profiles"]["ann"]["degraded"]
    assert shop.http.get("/readyz").status_code == 200
    assert shop.http.get("/readyz").json["status"] == "degraded"
    shop.users.up = True
    shop.zookeeper.set_up(False)
    answer = shop.http.get("/recommend/ann").json
    assert answer == {**known, "degraded": True}
    refused = shop.put_weights(view=1, add_to_cart=1, purchase=1)
    assert (refused.status_code, refused.content_type) == (503, PROBLEM)
    shop.zookeeper.set_up(True)
    assert shop.http.get("/recommend/ann").json == known


def test_profiles_of_many_users_are_remembered_too(shop: Bench) -> None:
    """Without Redis their newest counts are known, and what a user has bought as another request read it."""
    shop.http.get("/recommend/ann")
    shop.users.users["ann"] = StoredUser(rows(shoes="200,2,0"), frozenset({"p1"}))
    shop.users.users["bob"] = StoredUser(rows(hats="1,1,1"), frozenset())
    known = shop.http.post("/profiles", json={"user_ids": ["ann", "bob", "nobody"]}).json
    shop.users.up = False
    for profile in known["profiles"].values():
        profile["degraded"] = True
    answer = shop.http.post("/profiles", json={"user_ids": ["ann", "bob", "nobody"]})
    assert answer.json == {**known, "degraded": True}
    recommended = shop.http.get("/recommend/ann").json
    assert recommended["tags"] == [{"tag": "shoes", "score": 206}]
    assert "p1" not in [each["product_id"] for each in recommended["products"]]
    assert shop.http.get("/profile/bob").json["tags"] == {"hats": 9}


def test_the_entity_tag_guards_a_change(shop: Bench) -> None:
    """If-Match with the version in force lets a change through, any other is a 412 that names the one in force."""
    got = shop.http.get("/api/config/weights")
    assert got.headers["ETag"] == f'"{got.json["version"]}"'
    assert got.json["weights"] == {"view": 1, "add_to_cart": 3, "purchase": 5}

    def put(if_match: str) -> tuple[int, int]:
        body = {"view": 2, "cart": 3, "purchase": 5}
        answer = shop.http.put("/api/config/weights", json=body, headers={"X-API-Key": "key", "If-Match": if_match})
        return answer.status_code, answer.json["version"]

    status, version = put(got.headers["ETag"])
    assert (status, version) == (200, shop.http.get("/api/config/weights").json["version"])
    stale_ones = (got.headers["ETag"], f'W/"{version}"', '"x"', f'"0{version}"', f'"1", W/"{version}","*"', ",", "")
    for stale in stale_ones:
        assert put(stale) == (412, version)
    status, version = put(f'"1",W/"2" , "{version}", "x,y"')
    assert status == 200
    assert put("*")[0] == 200
    shop.zookeeper.write("/config/recommendation/weights", b"nonsense")
    now = shop.http.get("/api/config/weights")
    assert put(now.headers["ETag"])[0] == 200
    assert shop.http.get("/api/config/weights", headers={"If-None-Match": now.headers["ETag"]}).status_code == 200


@pytest.mark.parametrize(
    ("if_none_match", "status"),
    [
        ('"{version}"', 304),
        ('W/"{version}"', 304),
        ('"x", W/"1" ,"{version}"', 304),
        ("*", 304),
        ('"x"', 200),
        ('W/"1", "0{version}"', 200),
        ('"*"', 200),
        ("", 200),
    ],
)
@pytest.mark.parametrize("name", ["weights", "ranking"])
def test_who_has_the_document_in_force_is_told_so(bench: Bench, name: str, if_none_match: str, status: int) -> None:
    """If-None-Match is compared weakly, in lists too, and ``*`` is whatever is there (RFC 9110, 13.1.2)."""
    path = f"/api/config/{name}"
    wait_until(lambda: bench.http.get(path).json["version"] > 0)
    now = bench.http.get(path)
    header = if_none_match.format(version=now.json["version"])
    for method in ("GET", "HEAD"):
        answer = bench.http.open(path, method=method, headers={"If-None-Match": header})
        assert (answer.status_code, answer.headers["ETag"]) == (status, now.headers["ETag"])
        assert answer.data == (now.data if method == "GET" and status == 200 else b"")


def test_a_change_tells_who_has_it(shop: Bench) -> None:
    """The answer comes when the registered processes have the weights in force, this one included."""
    wait_until(lambda: any(path.startswith("/reweigh/members/api-") for path in shop.zookeeper.nodes))
    answer = shop.put_weights(view=1, add_to_cart=1, purchase=2).json
    assert (answer["acknowledged"], answer["members"]) == (1, 1)
    assert answer["took_ms"] < 1_000
    assert shop.weights.in_force.version == answer["version"]


def test_the_key_is_required_for_changes_only(bench: Bench) -> None:
    """No key 401 with a challenge, a wrong one 403, either header will do; reading needs none."""
    body = {"view": 1, "add_to_cart": 3, "purchase": 5}
    missing = bench.http.put("/api/config/weights", json=body)
    assert (missing.status_code, missing.content_type) == (401, PROBLEM)
    assert missing.headers["WWW-Authenticate"].startswith("Bearer")
    for headers in ({"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}, {"X-API-Key": "ké"}):
        assert bench.http.put("/api/config/weights", json=body, headers=headers).status_code == 403
    for headers in ({"X-API-Key": "key"}, {"Authorization": "Bearer key"}, {"Authorization": "bearer key"}):
        assert bench.http.put("/api/config/weights", json=body, headers=headers).status_code == 200
    assert bench.http.get("/api/config/weights").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"nope", "weights"),
        (b"[]", "weights"),
        (b'{"view": -1, "add_to_cart": 3, "purchase": 5}', "view"),
        (b'{"view": NaN, "add_to_cart": 3, "purchase": 5}', "weights"),
        (b'{"view": 1e999, "add_to_cart": 3, "purchase": 5}', "view"),
        (b'{"view": ' + b"9" * 5_000 + b', "add_to_cart": 3, "purchase": 5}', "weights"),
        (b'{"view": 1, "add_to_cart": 3}', "purchase"),
        (b'{"view": "\\ud800", "add_to_cart": 3, "purchase": 5}', "view"),
        (b'{"view": 1, "add_to_cart": 3, "purchase": 5, "wish": 1}', "wish"),
        (b'{"view": 0, "add_to_cart": 0, "purchase": 0}', "weights"),
        (b"[" * 60_000, "weights"),
    ],
)
def test_a_bad_document_is_refused_by_name(bench: Bench, body: bytes, field: str) -> None:
    """400 with the member, its value and what is allowed; nothing changes."""
    before = bench.http.get("/api/config/weights").json
    headers = {"X-API-Key": "key", "Content-Type": "application/json"}
    answer = bench.http.put("/api/config/weights", data=body, headers=headers)
    assert (answer.status_code, answer.content_type) == (400, PROBLEM)
    error = answer.json["errors"][0]
    assert error["field"] == field
    assert error["allowed"]
    assert "value" in error
    assert bench.http.get("/api/config/weights").json == before


@pytest.mark.parametrize(
    ("method", "path", "given", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", "/", {}, 404),
        ("GET", "/recommend/", {}, 404),
        ("GET", "/api/config/secrets", {}, 404),
        ("GET", "/api/config/..%2Fweights", {}, 404),
        ("GET", "/api/config/weights%00", {}, 404),
        ("PUT", "/api/config/nope", {"json": {}}, 404),
        ("DELETE", "/api/config/weights", {}, 405),
        ("POST", "/recommend/ann", {}, 405),
        ("GET", "/update", {}, 405),
        ("GET", "/recommend/ann?n=0", {}, 400),
        ("GET", "/recommend/ann?n=101", {}, 400),
        ("GET", "/recommend/ann?n=ten", {}, 400),
        ("GET", "/recommend/ann?n=", {}, 400),
        ("GET", "/recommend/ann?n=1&n=2", {}, 400),
        ("GET", "/recommend/ann?n=٣", {}, 400),
        ("GET", "/recommend/" + "x" * 129, {}, 400),
        ("GET", "/profile/" + "x" * 129, {}, 400),
        ("POST", "/profiles", {"json": {"user_ids": "ann"}}, 400),
        ("POST", "/profiles", {"json": {"user_ids": [""]}}, 400),
        ("POST", "/profiles", {"json": {"user_ids": [None]}}, 400),
        ("POST", "/profiles", {"json": {"user_ids": [True]}}, 400),
        ("POST", "/profiles", {"json": {"user_ids": ["u"] * 501}}, 400),
        ("POST", "/profiles", {"json": {}}, 400),
        ("POST", "/profiles", {"json": []}, 400),
        ("POST", "/profiles", {"data": b"[" * 100_000, "content_type": "application/json"}, 400),
        ("POST", "/profiles", {"data": b"\xff", "content_type": "application/json"}, 400),
        ("POST", "/profiles", {"data": b"{}", "content_type": "text/plain"}, 415),
        ("POST", "/profiles", {"data": b" " * 1_048_577, "content_type": "application/json"}, 413),
        ("POST", "/update", {"data": b" " * 1_000_001, "content_type": "application/json"}, 413),
        ("POST", "/update/batch", {"data": b" " * 4_194_305, "content_type": "application/json"}, 413),
        ("POST", "/update", {"data": b"{}", "content_type": "text/csv"}, 415),
        ("POST", "/update", {"json": {"user_id": "u"}}, 400),
        ("POST", "/update/batch", {"json": []}, 400),
        ("POST", "/update/batch", {"json": {"events": "x"}}, 400),
        ("POST", "/update/batch", {"data": b"[" * 100_000, "content_type": "application/json"}, 400),
    ],
)
def test_errors_are_problems(bench: Bench, method: str, path: str, given: dict[str, object], status: int) -> None:
    """Every error is problem+json with its status, never HTML."""
    answer = bench.http.open(path, method=method, **given)
    assert (answer.status_code, answer.content_type) == (status, PROBLEM)
    assert answer.json["status"] == status
    assert answer.json["title"]
    assert answer.json["detail"]
    if status == 405:
        assert answer.headers["Allow"]


def test_a_body_without_length_is_refused(bench: Bench) -> None:
    """A chunked body may arrive cut, so its length is required."""
    for path in ("/profiles", "/update", "/update/batch"):
        answer = bench.http.post(path, headers={"Transfer-Encoding": "chunked"}, content_type="application/json")
        assert (answer.status_code, answer.content_type) == (411, PROBLEM)


def test_a_bug_is_a_problem_without_a_traceback(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """500, and the log alone says why."""
    monkeypatch.setattr(bench.users, "user", lambda _: 1 / 0)
    answer = bench.http.get("/recommend/ann")
    assert (answer.status_code, answer.content_type) == (500, PROBLEM)
    assert "division" not in answer.text


def test_what_redis_refuses_is_an_error_of_that_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 and a line in the log, not an answer from memory as if Redis were away."""

    def refuse(_: object, **_wanted: bool) -> StoredUser:
        raise StoreRefused("Redis refused HGETALL: WRONGTYPE")

    monkeypatch.setattr(bench.users, "user", refuse)
    for path in ("/recommend/ann", "/profile/ann"):
        answer = bench.http.get(path)
        assert (answer.status_code, answer.content_type) == (500, PROBLEM)
    assert "WRONGTYPE" in caplog.text
    assert bench.http.get("/readyz").json["status"] == "ready"


def test_an_event_is_taken_once_kafka_has_it(bench: Bench) -> None:
    """202 names its place; the exact bytes go to the topic of its type, keyed by user id."""
    event = b'{"user_id": 7, "item_id": "p", "action": "cart", "event_id": "e"}'
    answer = bench.http.post("/update", data=event, content_type="application/json")
    assert (answer.status_code, answer.json["topic"]) == (202, "add-to-cart-events")
    assert [(each.key, each.value) for each in bench.kafka.messages] == [(b"7", event)]
    bench.kafka.up = False
    answer = bench.http.post("/update", data=event, content_type="application/json")
    assert (answer.status_code, answer.content_type, answer.headers["Retry-After"]) == (503, PROBLEM, "1")


def test_each_event_of_a_batch_has_a_result(bench: Bench) -> None:
    """A wrong event stops no other; 202 only when Kafka has all the others, 503 when one of them is not there."""
    good = {"user_id": "u", "product_id": "p", "event_type": "view"}
    answer = bench.http.post("/update/batch", json=[good, {"user_id": "u"}, "x", good])
    assert answer.status_code == 202
    assert [each["status"] for each in answer.json["results"]] == [202, 400, 400, 202]
    assert answer.json["accepted"] == 2
    assert [(each["index"], each["field"], each["reason"]) for each in answer.json["rejected"]] == [
        (1, "product_id", "invalid_product_id"), (2, "", "not_an_object")
    ]  # fmt: skip
    assert answer.json["took_ms"] > 0
    answer = bench.http.post("/update/batch", json=["x", {}])
    assert (answer.status_code, answer.content_type, answer.json["accepted"]) == (400, PROBLEM, 0)
    assert [each["index"] for each in answer.json["rejected"]] == [0, 1]
    assert bench.http.post("/update/batch", json={"events": [good]}).status_code == 202
    bench.kafka.up = False
    answer = bench.http.post("/update/batch", json=[good])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_an_event_larger_than_kafka_takes_is_told_by_number(bench: Bench) -> None:
    """413 with place, size and limit beside the results of the others; no retry is suggested, as none would help."""
    good = {"user_id": "u", "product_id": "p", "event_type": "view"}
    large = {**good, "metadata": {"note": "x" * LARGEST_EVENT}}
    size = len(json.dumps(large, separators=(",", ":")))
    answer = bench.http.post("/update/batch", json=[good, large, {"user_id": "u"}])
    assert answer.status_code == 202
    assert [each["status"] for each in answer.json["results"]] == [202, 413, 400]
    assert [each["reason"] for each in answer.json["rejected"]] == ["too_large", "invalid_product_id"]
    assert "Retry-After" not in answer.headers
    error = {"field": "events[1]", "value": size, "allowed": "at most 1000000 bytes"}
    assert answer.json["results"][1]["errors"] == [error]
    assert len(bench.kafka.messages) == 1
    answer = bench.http.post("/update/batch", json=[large, large])
    assert (answer.status_code, answer.content_type, answer.json["status"]) == (413, PROBLEM, 413)
    assert f"events[0] has {size} bytes, at most 1000000 are allowed" in answer.json["detail"]
    assert [each["status"] for each in answer.json["results"]] == [413, 413]
    bench.kafka.up = False
    answer = bench.http.post("/update/batch", json=[good, good])
    assert (answer.status_code, answer.content_type, answer.json["unavailable"]) == (503, PROBLEM, 2)


def test_a_request_may_give_its_events_their_ids(bench: Bench) -> None:
    """With an ``Idempotency-Key`` a repeated request carries the same ids; an event's own goes before it."""
    named, nameless = ({"user_id": "u", "product_id": "p", "event_type": "view", "event_id": each} for each in "x\0")
    nameless["event_id"] = None  # type: ignore[assignment]

    def ids(path: str, body: object, key: str) -> list[str]:
        first = len(bench.kafka.messages)
        answer = bench.http.post(path, json=body, headers={"Idempotency-Key": key})
        assert answer.status_code == 202, answer.json
        return [json.loads(each.value)["event_id"] for each in bench.kafka.messages[first:]]

    assert ids("/update", nameless, "k-1") == ids("/update", nameless, '"k-1"') == ["k-1"]
    assert ids("/update", named, "k-1") == ["x"]
    assert ids("/update/batch", [nameless, named, nameless], "k-1") == ["k-1:0", "x", "k-1:2"]
    for wrong in ("", "x" * 121, "tab\there"):
        answer = bench.http.post("/update", json=nameless, headers={"Idempotency-Key": wrong})
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "Idempotency-Key")


def test_events_of_a_batch_are_written_in_utf_8(bench: Bench) -> None:
    """Text of any script takes the room that it takes in the request; half of a surrogate pair is refused alone."""
    good = {"user_id": "ü", "product_id": "商品", "event_type": "view", "tags": ["обувь"]}
    body = json.dumps([good, {**good, "user_id": "\ud800"}])
    answer = bench.http.post("/update/batch", data=body, content_type="application/json")
    assert [each["status"] for each in answer.json["results"]] == [202, 400]
    assert answer.json["results"][1]["reason"] == "not_json"
    expected = '{"user_id":"ü","product_id":"商品","event_type":"view","tags":["обувь"]}'
    assert [each.value.decode() for each in bench.kafka.messages] == [expected]
    large = {**good, "metadata": {"n": 2**70, "m": 0.1}}
    assert bench.http.post("/update/batch", json=[large]).status_code == 202
    assert json.loads(bench.kafka.messages[-1].value)["metadata"] == large["metadata"]
    answer = bench.http.post("/update/batch", data=b'[{"user_id": NaN}]', content_type="application/json")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "body")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/recommend/%ED%A0%80", "path"),  # half of a surrogate pair
        ("/profile/a%FF", "path"),
        ("/features/%C3", "path"),
        ("/users/%ED%A0%80/events", "path"),
        ("/users/%ED%A0%80/ratings", "path"),
        ("/interests/%ED%A0%80", "path"),
        ("/products/%ED%A0%80", "path"),
        ("/similar/%ED%A0%80", "path"),
        ("/%ED%A0%80", "path"),
        ("/products?after=%ED%A0%80", "after"),
        ("/products?category=%ff", "category"),
        ("/recommend/ann?n=5&exclude=p1,%ED%A0%80", "exclude"),
        ("/recommend/ann?after=%ED%A0%80", "after"),
    ],
)
def test_what_is_no_text_in_a_path_or_a_query(shop: Bench, path: str, field: str) -> None:
    """It is not taken for other characters, which could be somebody else's id."""
    # The client would put other characters in the place of such bytes, and a server does not.
    as_served = {"PATH_INFO": unquote(path.partition("?")[0], "latin-1")}
    answer = shop.http.get(path, environ_overrides=as_served)
    assert (answer.status_code, answer.content_type) == (400, PROBLEM)
    assert answer.json["errors"][0]["field"] == field
    assert answer.json["errors"][0]["value"].endswith(path.rpartition("=")[2])
    assert "UTF-8" in answer.json["errors"][0]["allowed"]
    replaced = "/recommend/%EF%BF%BD"  # a character that stands for what can't be read is one like any other
    assert shop.http.get(replaced).json["user_id"] == "\ufffd"


def test_every_event_over_http_is_counted(bench: Bench) -> None:
    """By its outcome, whether it came alone or in a batch."""
    good = {"user_id": "u", "product_id": "p", "event_type": "view"}

    def counted(path: str, *events: object) -> dict[str, float]:
        before = _ingested()
        for each in events:
            bench.http.post(path, json=each)
        return {name: value - before[name] for name, value in _ingested().items()}

    taken_and_not = {"accepted": 2, "rejected": 1, "unavailable": 0}
    assert counted("/update", good, {"user_id": "u"}, good) == taken_and_not
    assert counted("/update/batch", [good, {"user_id": "u"}, good]) == taken_and_not
    large = {**good, "metadata": {"note": "x" * LARGEST_EVENT}}
    assert counted("/update", large) == counted("/update/batch", [large])
    bench.kafka.up = False
    assert counted("/update", good) == {"accepted": 0, "rejected": 0, "unavailable": 1}


def _ingested() -> dict[str, float]:
    names = ("accepted", "rejected", "unavailable")
    return {each: REGISTRY.get_sample_value(metrics.INGESTED.name, {"outcome": each}) or 0.0 for each in names}


def test_health_says_what_is_away(bench: Bench) -> None:
    """Liveness is cheap, readiness waits for the statistics, health names each dependency."""
    assert bench.http.get("/livez").json == {"status": "alive"}
    assert bench.http.get("/readyz").json["status"] == "ready"
    bench.statistics.loaded = False
    assert bench.http.get("/readyz").status_code == 503
    assert bench.http.get("/health").status_code == 200
    assert bench.http.get("/health").json["weights"]["known"]
    assert bench.http.get("/health").json["kafka"] == {"available": None}
    event = {"user_id": "u", "product_id": "p", "event_type": "view"}
    assert bench.http.post("/update", json=event).status_code == 202
    assert bench.http.get("/health").json["kafka"] == {"available": True}


def test_answers_and_requests_are_as_described(bench: Bench) -> None:
    """Answers are valid by the service's own description, and so are its examples and each name of a member."""
    described = bench.http.get("/openapi.json").json
    for name, schema in described["components"]["schemas"].items():
        for value in [schema["example"]] if "example" in schema else []:
            validate(value, {**described, "$ref": f"#/components/schemas/{name}"})
    contract = {"user_id": "u", "item_id": 7, "action": "click", "process_time": 1_700_000_000.5}
    validate(contract, {**described, "$ref": "#/components/schemas/Event"})
    with pytest.raises(ValidationError):
        validate({"user_id": "u", "item_id": 7}, {**described, "$ref": "#/components/schemas/Event"})
    assert bench.http.post("/update", json=contract).status_code == 202
    position = bench.http.post("/update", json=contract).json["position"]
    for method, path, shape, body in (
        ("get", f"/recommend/u?explain=true&wait_ms=0&after={position}", "/recommend/{user_id}", None),
        ("post", "/recommend/session?explain=true", None, {"events": [{"product_id": "p1", "event_type": "view"}]}),
        ("post", "/profiles", None, {"user_ids": ["u"]}),
        ("get", "/profile/u", "/profile/{user_id}", None),
        ("get", "/products", None, None),
        ("get", "/features/u", "/features/{user_id}", None),
        ("get", "/users/u/events", "/users/{user_id}/events", None),
        ("get", "/users/u/ratings", "/users/{user_id}/ratings", None),
        ("get", "/interests/u", "/interests/{user_id}", None),
        ("post", "/update/batch", None, [contract, {"user_id": "u"}]),
        ("get", "/api/config/weights", None, None),
        ("put", "/api/config/weights", None, {"view": 1, "add_to_cart": 2, "purchase": 3}),
    ):
        answer = bench.http.open(path, method=method.upper(), json=body, headers={"X-API-Key": "key"})
        assert answer.status_code < 300, (path, answer.text)
        said = described["paths"][shape or path.partition("?")[0]][method]["responses"][str(answer.status_code)]
        validate(answer.json, {**described, **said["content"]["application/json"]["schema"]})
    problem = bench.http.post("/update", json={**contract, "action": "look"})
    validate(problem.json, {**described, "$ref": "#/components/schemas/Problem"})
    (error,) = problem.json["errors"]
    assert error == {"field": "event_type", "value": "look", "allowed": "one of view, add_to_cart, purchase"}


def test_the_description_is_whole_and_works_offline(bench: Bench) -> None:
    """Every route is described, and the page loads nothing from elsewhere."""
    described = bench.http.get("/openapi.json").json
    app = bench.http.application
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith(("/docs", "/redoc", "/openapi", "/api/config", "/ops/static"))
    }
    described_routes = {
        (path, method)
        for path, item in described["paths"].items()
        for method in item
        if method != "parameters" and not path.startswith("/api/config")
    }
    assert described_routes == routes
    assert {"/api/config/weights", "/api/config/ranking"} <= set(described["paths"])
    page = bench.http.get("/docs").text
    assert "http" not in page
    for asset in ("css/swagger-ui.css", "js/swagger-ui-bundle.js", "js/swagger-ui-standalone-preset.js"):
        assert f"/docs/static/{asset}" in page
        with bench.http.get(f"/docs/static/{asset}") as answer:
            assert answer.status_code == 200
    page = bench.http.get("/redoc").text
    assert "http" not in page
    assert "/redoc/static/js/redoc.standalone.js" in page
    with bench.http.get("/redoc/static/js/redoc.standalone.js") as answer:
        assert answer.status_code == 200


def test_stored_rows_are_the_layouts_rows() -> None:
    """The rows that these tests write by hand are those of the layout."""
    assert encoding.encode_counts((1, 0, 0), 1_700_000_000_123, 901) == rows(tag="1,0,0;901")["tag"]
