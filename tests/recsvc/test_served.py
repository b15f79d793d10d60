"""The service as it is deployed: gunicorn with two workers, on real servers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from kafka.admin import KafkaAdminClient, NewTopic
from kazoo.client import KazooClient

from deploy.local.stack import Stack
from reccore import layout
from reccore.events import LARGEST_EVENT
from recsvc.confluent_publisher import ConfluentEventPublisher
from recsvc.errors import IngestUnavailable
from recsvc.ingest import Message, Placed
from recsvc.kafka_publisher import KafkaEventPublisher
from tests.recsvc.conftest import TYPES
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = "/config/recommendation/weights"


@pytest.fixture(scope="module")
def port(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running service."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    folder = tmp_path_factory.mktemp("api")
    env = {**os.environ, **stack.env, "API_BIND": f"127.0.0.1:{port}", "CONFIG_API_KEY": "key"}
    env["PROMETHEUS_MULTIPROC_DIR"] = str(folder / "metrics")
    command = [str(Path(sys.executable).with_name("gunicorn")), "-c", "recsvc/gunicorn_conf.py", "recsvc.wsgi:app"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, cwd=ROOT, env=env, stderr=log) as process:
        wait_until(lambda: process.poll() is not None or _ready(port), 60)
        assert process.poll() is None, (folder / "log").read_text()
        yield port
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert "Traceback" not in (folder / "log").read_text()


def ask(port: int, path: str, method: str = "GET", body: object = None) -> tuple[int, Any, str]:
    """Make one request over a connection of its own; gives status, JSON and content type."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"X-API-Key": "key", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    text, kind = answer.read(), answer.headers["Content-Type"]
    connection.close()
    return answer.status, json.loads(text) if "json" in kind else text.decode(), kind


def _ready(port: int) -> bool:
    try:
        status, state, _ = ask(port, "/readyz")
    except OSError:
        return False
    return status == 200 and not state["degraded"]


def test_every_worker_has_the_weights_when_the_change_is_answered(port: int, database: redis.Redis) -> None:
    """After a PUT no request sees an older version, whichever worker answers; each answer is exact."""
    database.hset(layout.counts_key("ann"), mapping={"shoes": "3,1,0;5"})
    body = {"view": 1, "add_to_cart": 3, "purchase": 5}
    wait_until(lambda: ask(port, "/api/config/weights", "PUT", body)[1]["members"] == 2)  # both have registered
    for view in range(1, 16):
        status, done, _ = ask(port, "/api/config/weights", "PUT", {"view": view, "add_to_cart": 0.5, "purchase": 1})
        assert status == 200
        assert done["acknowledged"] == done["members"] == 2
        for _ in range(6):
            answer = ask(port, "/recommend/ann")[1]
            assert (answer["weights_version"], answer["tags"]) == (
                done["version"],
                [{"tag": "shoes", "score": 3 * view + 0.5}],
            )


def test_bytes_that_are_no_text_are_no_user(port: int) -> None:
    """Half of a surrogate pair, as it arrives through the server."""
    status, problem, kind = ask(port, "/recommend/%ED%A0%80")
    assert (status, kind, problem["errors"][0]["field"]) == (400, "application/problem+json", "path")


def test_another_clients_document_takes_effect(port: int, stack: Stack, database: redis.Redis) -> None:
    """Set in ZooKeeper directly, a valid document is in force in both workers, a bad one in neither."""
    client = KazooClient(stack.addresses.zookeeper)
    client.start(timeout=20)
    client.set(WEIGHTS, b'{"view": 42, "cart": 3, "purchase": 5}')
    version = client.get(WEIGHTS)[1].mzxid
    wait_until(lambda: all(ask(port, "/recommend/ann")[1]["weights_version"] == version for _ in range(8)))
    client.set(WEIGHTS, b"nonsense")
    client.delete(WEIGHTS)
    assert all(ask(port, "/api/config/weights")[1]["version"] == version for _ in range(8))
    assert ask(port, "/api/config/weights", "PUT", {"view": 1, "add_to_cart": 3, "purchase": 5})[1]["version"] > version
    client.stop()
    client.close()


def test_reads_go_on_while_redis_is_paused(port: int, stack: Stack, database: redis.Redis) -> None:
    """200 and degraded at once, from what was seen last; exact again afterwards."""
    database.hset(layout.counts_key("ann"), mapping={"shoes": "3,0,0;5"})
    with ThreadPoolExecutor(16) as pool:  # so many at once that both workers have seen the user
        [known] = {json.dumps(tags) for tags in pool.map(lambda _: ask(port, "/recommend/ann")[1]["tags"], range(64))}
    stack.kill("redis", signal.SIGSTOP)
    try:
        for _ in range(6):
            ask(port, "/recommend/ann")  # both workers notice
        began = time.monotonic()
        answers = [ask(port, "/recommend/ann") for _ in range(10)]
        took = time.monotonic() - began
        assert {status for status, _, _ in answers} == {200}
        assert all(answer["degraded"] and json.dumps(answer["tags"]) == known for _, answer, _ in answers)
        assert took < 5
        assert ask(port, "/readyz")[0] == 200
    finally:
        stack.kill("redis", signal.SIGCONT)
    wait_until(lambda: not any(ask(port, "/recommend/ann")[1]["degraded"] for _ in range(6)))


def test_events_are_acknowledged_and_refused_in_time(port: int, stack: Stack) -> None:
    """202 with the place in the log; with the broker paused 503 within a moment, and 202 again afterwards."""
    event = {"user_id": "u", "product_id": "p", "event_type": "view", "event_id": "e-1"}
    wait_until(lambda: ask(port, "/update", "POST", event)[0] == 202, 30)
    batch = [event, {"user_id": "u"}]
    # Maybe by the other worker, whose producer has yet to connect.
    wait_until(lambda: ask(port, "/update/batch", "POST", batch)[0] == 202, 30)
    status, answer, _ = ask(port, "/update/batch", "POST", batch)
    assert (status, [each["status"] for each in answer["results"]]) == (202, [202, 400])
    stack.kill("kafka", signal.SIGSTOP)
    try:
        began = time.monotonic()
        status, _, kind = ask(port, "/update", "POST", event)
        assert (status, kind) == (503, "application/problem+json")
        assert time.monotonic() - began < 2.5
    finally:
        stack.kill("kafka", signal.SIGCONT)
    wait_until(lambda: ask(port, "/update", "POST", event)[0] == 202, 30)


PUBLISHERS = pytest.mark.parametrize("kind", [ConfluentEventPublisher, KafkaEventPublisher])
Publisher = type[ConfluentEventPublisher] | type[KafkaEventPublisher]


@PUBLISHERS
def test_the_largest_event_is_taken(kind: Publisher, stack: Stack) -> None:
    """What the limit lets through gets through to Kafka, with the longest key too."""
    publisher = kind(stack.addresses.kafka, most_in_flight=10, timeout_ms=20_000)
    largest = Message(TYPES.topics["view"], "😀".encode() * 128, b"x" * LARGEST_EVENT)
    try:
        assert isinstance(publisher.publish([largest])[0], Placed)
    finally:
        publisher.stop()


@PUBLISHERS
def test_events_are_taken_again_after_kafka_has_refused_one(kind: Publisher, stack: Stack) -> None:
    """What a topic is set up to refuse is not acknowledged, and it stops nothing that comes later."""
    topic = f"narrow-{kind.__name__}"
    admin = KafkaAdminClient(bootstrap_servers=stack.addresses.kafka)
    admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": "2000"})])
    admin.close()
    publisher = kind(stack.addresses.kafka, most_in_flight=3, timeout_ms=20_000)
    small, large = Message(topic, b"u", b"x"), Message(topic, b"u", b"x" * 3_000)
    try:
        for _ in range(4):  # more often than there are places for events without an acknowledgement
            assert isinstance(publisher.publish([large])[0], IngestUnavailable)
            assert isinstance(publisher.publish([small])[0], Placed)
    finally:
        publisher.stop()


def test_what_gunicorn_refuses_is_a_problem_too(port: int) -> None:
    """A URI or headers that are too long and a request that is none: 414, 431, 400, never HTML."""
    for request, status in (
        (b"GET /recommend/" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 9_000 + b"\r\n\r\n", b"431"),
        (b"\x00\x01\r\n\r\n", b"400"),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request)
            answer = connection.recv(65_536)
        assert answer.split(b" ")[1] == status
        assert b"application/problem+json" in answer
        assert b"<" not in answer


def test_slow_clients_keep_nobody_waiting(port: int) -> None:
    """More clients than there are threads, none of which comes to an end; others are answered, and so are they."""
    request = b"POST /profiles HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\n" + b'{"user_ids": []}'
    cuts = [0, 1, 20, len(request) - 16, len(request) - 1] * 12
    opened = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in cuts]
    try:
        for connection, cut in zip(opened, cuts, strict=True):
            connection.sendall(request[:cut])
        assert all(ask(port, "/livez")[0] == 200 for _ in range(20))
        for connection, cut in zip(opened, cuts, strict=True):
            connection.sendall(request[cut:])
        assert all(connection.recv(65_536).startswith(b"HTTP/1.1 200") for connection in opened)
    finally:
        for connection in opened:
            connection.close()


def test_a_client_that_goes_away_is_no_request(port: int) -> None:
    """What has arrived of it is refused or dropped, and never taken for all of it."""
    event = b'{"user_id":"cut","product_id":"p","event_type":"view"}'
    head = b"POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n"
    for sent in (b"", head[:20], head, head + event):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65_536)
        assert not answer.startswith(b"HTTP/1.1 2")


def test_a_client_may_wait_to_be_told_to_go_on(port: int) -> None:
    """``Expect: 100-continue`` is answered before the body is there."""
    head = b"POST /profiles HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 16\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100")
        connection.sendall(b'{"user_ids": []}')
        answer = b""
        while b"HTTP/1.1 200" not in answer:
            answer += connection.recv(65_536)


def test_workers_share_the_connections(port: int) -> None:
    """Of connections that come all at once and stay, no worker takes nearly all and leaves the other idle."""
    fewest = sorted(_fewest_held_after_a_burst(port, 16) for _ in range(9))
    assert fewest[4] >= 5, fewest  # a worker that the machine doesn't let run can miss a burst


def _fewest_held_after_a_burst(port: int, connections: int) -> int:
    """How many of so many connections the worker has taken that has taken fewer."""
    opened = [socket.socket() for _ in range(connections)]
    try:
        for connection in opened:
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))  # doesn't wait until the last one is there
        for connection in opened:
            connection.settimeout(10)
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(connection.recv(65_536).startswith(b"HTTP/1.1 200") for connection in opened)
        taken = [worker.net_connections("tcp") for worker in psutil.Process().children(recursive=True)]
        held = [sum(each.laddr.port == port and each.status == "ESTABLISHED" for each in some) for some in taken]
        return connections - max(held)
    finally:
        for connection in opened:
            connection.close()


def test_metrics_are_those_of_all_workers(port: int, database: redis.Redis) -> None:
    """Requests are grouped by route, counted over both workers, and the job's totals stand beside them."""
    totals = {"read:view-events": "7", "applied:view": "4", "dead:not_json": "1", "untagged": "2"}
    database.hset(layout.TOTALS, mapping=totals)
    database.set(layout.DROPPED_TAGS, 8)
    threads = [threading.Thread(target=ask, args=(port, f"/recommend/user-{i}")) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = ask(port, "/metrics")[1]
    for line in (
        'reweigh_stream_records_total{outcome="read"} 7.0',
        'reweigh_stream_records_total{outcome="duplicate"} 2.0',
        'reweigh_dead_letters_total{reason="not_json"} 1.0',
        "reweigh_untagged_events_total 2.0",
        "reweigh_dropped_tags_total 8.0",
    ):
        assert line in text
    assert "user-3" not in text
    assert 'route="/recommend/<anytext:user_id>"' in text
    assert "reweigh_weights_version " in text
