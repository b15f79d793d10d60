"""What the service writes into its log: one JSON object a line, and nothing of users."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kazoo.client import KazooClient

from deploy.local.home import CHECKOUT
from deploy.local.stack import Stack
from reccore import layout
from reccore.errors import SettingError
from recsvc.log_lines import JsonLines, LogSettings, TextLines, name_request, request_id, request_named
from recsvc.request_log import HEADER
from tests.recsvc.conftest import Bench
from tests.security.served import Served, served
from tests.waiting import wait_until

CANARY = "canary-9d2f"
WEIGHTS = {"view": 1, "add_to_cart": 3, "purchase": 5}
KEY = "the-right-key"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged meanwhile, at ``info`` and above, as JSON lines."""
    sink = io.StringIO()
    handler = logging.StreamHandler(sink)
    handler.setFormatter(JsonLines())
    handler.addFilter(name_request)
    handler.setLevel(logging.INFO)
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield sink
    root.removeHandler(handler)
    root.setLevel(before)


def test_an_id_that_is_given_is_kept_and_another_is_made_where_it_is_odd(bench: Bench) -> None:
    """In the header of each answer, and in a problem."""
    given = bench.http.get("/recommend/u", headers={HEADER: "order-17:a"})
    assert given.headers[HEADER] == "order-17:a"
    for odd in ("", "a b", "ü", "x" * 129, '"', "<script>"):
        answer = bench.http.get("/nothing", headers={HEADER: odd})
        assert answer.headers[HEADER] != odd
        assert answer.json is not None
        assert answer.json["request_id"] == answer.headers[HEADER]
    assert request_id.get() == ""


def test_a_request_has_one_line_that_names_its_route(bench: Bench, lines: io.StringIO) -> None:
    """Not the path, whose parts are ids; each status has its level."""
    for path, key in (("/recommend/", 200), ("/nothing/", 404)):
        assert bench.http.get(f"{path}{CANARY}?n=3", headers={HEADER: "a-1"}).status_code == key
    bench.http.get("/livez")
    bench.users.up = False
    bench.http.get(f"/users/{CANARY}/ratings")
    written = [json.loads(each) for each in lines.getvalue().splitlines()]
    requests = [(each["level"], each["route"], each["status"]) for each in written if each["message"] == "request"]
    assert requests[:2] == [("INFO", "/recommend/<anytext:user_id>", 200), ("INFO", "-", 404)]
    assert {each["request_id"] for each in written[:2]} == {"a-1"}
    assert not [each for each in requests if each[1] == "/livez"]
    assert CANARY not in lines.getvalue()


def test_a_bug_is_one_line_without_what_the_caller_sent(
    bench: Bench, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Type and place of the exception are there, its message is not: it may quote the request."""

    def fail(*_: object, **__: object) -> Any:
        raise KeyError(CANARY)

    monkeypatch.setattr(bench.users, "user", fail)
    answer = bench.http.get(f"/recommend/{CANARY}", headers={HEADER: "a-2"})
    assert answer.status_code == 500
    errors = [each for each in map(json.loads, lines.getvalue().splitlines()) if each["level"] == "ERROR"]
    assert {each["request_id"] for each in errors} == {"a-2"}
    assert "builtins.KeyError" in errors[0]["exception"]
    assert "in fail" in errors[0]["exception"]
    assert CANARY not in lines.getvalue()


def test_text_has_the_same_members() -> None:
    """Behind the message."""
    record = logging.makeLogRecord({"name": "some", "levelname": "INFO", "msg": "said", "route": "/a"})
    assert TextLines().format(record).endswith("INFO    some: said route=/a")


def test_work_for_a_request_is_named_in_its_lines() -> None:
    """And not afterwards."""
    with request_named("a-3"):
        assert request_id.get() == "a-3"
    assert request_id.get() == ""


@pytest.mark.parametrize(("key", "value"), [("LOG_FORMAT", "xml"), ("LOG_LEVEL", "loud")])
def test_a_wrong_setting_is_named(key: str, value: str) -> None:
    """With what is allowed."""
    with pytest.raises(SettingError, match=f"{key}=.*{value}.*one of"):
        LogSettings.from_settings({key: value})


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [
        (("gunicorn", "-c", "recsvc/gunicorn_conf.py", "recsvc.wsgi:app"), "API_WORKERS", "0"),
        (("gunicorn", "-c", "recsvc/gunicorn_conf.py", "recsvc.wsgi:app"), "API_REDIS_TIMEOUT_MS", "x"),
        (("python", "-m", "recsvc.sweeper"), "API_REDIS_TIMEOUT_MS", "x"),
    ],
)
def test_a_process_that_cannot_start_says_why_in_one_line(command: tuple[str, ...], key: str, value: str) -> None:
    """Without a traceback."""
    program = Path(sys.executable).with_name(command[0])
    environment = {**os.environ, key: value, "API_BIND": "127.0.0.1:0"}
    done = subprocess.run(
        [program, *command[1:]], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"{key}='{value}' can't be used; allowed: a whole number")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def service(stack: Stack, tmp_path: Path) -> Iterator[Served]:
    """The service as it is deployed, with a log of its own."""
    with served(tmp_path, {**stack.env, "CONFIG_API_KEY": KEY, "LOG_FORMAT": "json"}) as running:
        wait_until(lambda: running.ask("/api/config/weights", "PUT", WEIGHTS, X_API_Key=KEY).status == 200, 60)
        yield running


def test_every_line_of_the_running_service(service: Served, stack: Stack, database: redis.Redis) -> None:
    """JSON, through load, refused requests, bad documents, a paused Redis; no id of a user or product in any."""
    database.hset(layout.counts_key(CANARY), mapping={"shoes": "3,0,0;5"})
    event = {"user_id": CANARY, "product_id": CANARY, "event_type": "view", "event_id": CANARY}
    for _ in range(20):
        service.ask(f"/recommend/{CANARY}")
        service.ask("/update", "POST", event, Content_Type="application/json")
        service.ask("/update", "POST", {**event, "event_type": CANARY}, Content_Type="application/json")
        service.ask(f"/recommend/{CANARY}?n={CANARY}")
    for request in (
        f"GET /recommend/{CANARY} HTTP/9.9\r\n\r\n",
        f"{CANARY}\r\n\r\n",
        f"GET / HTTP/1.1\r\n{CANARY}\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
            connection.sendall(request.encode())
            assert b"X-Request-Id" in connection.recv(65_536)
    client = KazooClient(stack.addresses.zookeeper)
    client.start(timeout=20)
    client.set("/config/recommendation/weights", b"nonsense")
    wait_until(lambda: "is refused" in service.log.read_text())
    client.stop()
    client.close()
    stack.kill("redis", signal.SIGSTOP)
    try:
        wait_until(lambda: "is away" in service.log.read_text() or not service.ask(f"/recommend/{CANARY}"), 30)
        for path in ("recommend", "users/ratings", "profile", "features", "interests"):
            service.ask(f"/{path.partition('/')[0]}/{CANARY}/{path.partition('/')[2]}")
    finally:
        stack.kill("redis", signal.SIGCONT)
    wait_until(lambda: "answers again" in service.log.read_text(), 30)
    service.ask("/api/config/weights", "PUT", WEIGHTS, X_API_Key=KEY)
    written = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert CANARY not in service.log.read_text()
    assert all(each.keys() >= {"time", "level", "logger", "message", "pid"} for each in written)
    assert all(each["request_id"] for each in written if each["message"] == "request")
    levels = {
        "Listening at": "INFO",
        "refused before it had a route": "INFO",
        "is refused": "ERROR",
        "is away": "WARNING",
        "answers again": "WARNING",
    }
    for text, level in levels.items():
        assert {each["level"] for each in written if text in each["message"]} == {level}, text
