"""H1 to H5: slow, oversized, malformed and too many requests, and workers that go."""

from __future__ import annotations

import json
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil

from bench.load_client import ask, good_http, whole_http
from bench.report import quantile
from faults.at_rest import answer
from faults.flood import offer
from faults.made_up import Maker, without_products
from faults.patience import wait_until
from faults.run import Run
from faults.slow_clients import slow_clients

HEALTH_P95_MS = 100.0
LEAST_GOODPUT = 0.8
REFUSED_SECONDS = 1.0
PROBLEM = b"application/problem+json"


def crawled(run: Run) -> str:
    """H1: clients that send their request a byte a second, or nothing at all; others are served."""
    numbers = (0, 40, 300) if run.quick else (0, 40, 300, 2_000)
    address = _address(run)
    with run.traffic.flowing(chunk=50):
        for number in numbers:
            with slow_clients(address, number) as opened:
                time.sleep(2)
                taken = [_seconds_of(address, b"/health") for _ in range(run.choose(200, 60))]
                run.note(f"{number} slow clients: connected", opened.connected)
            taken.sort()
            p95 = 1000 * taken[-max(1, len(taken) // 20)]
            run.note(f"{number} slow clients: /health p95 ms", p95)
            run.in_time(f"{number} slow clients: /health p95", p95 / 1000, HEALTH_P95_MS / 1000)
    run.recovered("slow clients", time.monotonic())
    return f"{', '.join(map(str, numbers[1:]))} clients that send a byte a second, or nothing"


def _seconds_of(address: tuple[str, int], path: bytes) -> float:
    began = time.monotonic()
    status, _ = exchange(address, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return time.monotonic() - began if status == 200 else 30.0


def _address(run: Run) -> tuple[str, int]:
    parts = urlsplit(run.stack.env["API_URL"])
    return str(parts.hostname), int(parts.port or 80)


def exchange(address: tuple[str, int], sent: bytes, *, cut: bool = False, seconds: float = 15) -> tuple[int, bytes]:
    """Send bytes over a connection of their own and give status (0: none) and all that came back.

    ``cut`` ends the sending side, as a client does that goes away in the middle.
    """
    found = b""
    try:
        with socket.create_connection(address, timeout=seconds) as connection:
            try:
                connection.sendall(sent)
                if cut:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # refused before all was sent; the answer tells why
            while not _is_whole(found) and (part := connection.recv(65_536)):
                found += part
    except OSError:
        pass
    return (int(found[9:12]) if found[:5] == b"HTTP/" else 0), found


def _is_whole(received: bytes) -> bool:
    head, end, _ = received.partition(b"\r\n\r\n")
    return bool(end) and b"content-length" in head.lower() and whole_http(received)


def oversized(run: Run) -> str:
    """H2: bodies, headers and addresses that are too long, and bodies that are cut."""
    address = _address(run)
    head = b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    large = b'{"user_id":"u","product_id":"p","metadata":{"a":"' + b"x" * 1_000_000 + b'"}}'
    event = b'{"user_id":"cut","product_id":"p","event_type":"view"}'
    cases = {
        "a body with its length": (b"POST /update" + head + _length(large) + large, {413}),
        "a batch with its length": (b"POST /update/batch" + head + b"Content-Length: 99999999\r\n\r\n[", {413}),
        "a chunked body": (
            b"POST /update" + head + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n0\r\n\r\n',
            {411},
        ),
        "headers": (b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 9_000 + b"\r\n\r\n", {431}),
        "an address": (b"GET /recommend/" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414}),
        "a cut body": (b"POST /update" + head + b"Content-Length: 900\r\n\r\n" + event, {400, 0}),
        "a cut chunked body": (
            b"POST /update" + head + b"Transfer-Encoding: chunked\r\n\r\n36\r\n" + event,
            {411, 400, 0},
        ),
    }
    with run.traffic.flowing(chunk=50):
        for _ in range(run.choose(20, 5)):
            for name, (sent, allowed) in cases.items():
                status, found = exchange(address, sent, cut=True)
                run.must(f"{name}: {status} is not one of {sorted(allowed)}", status in allowed)
                run.must(f"{name}: no problem+json", status == 0 or PROBLEM in found)
    for name, (sent, _) in cases.items():
        run.note(name, exchange(address, sent, cut=True)[0] or "closed without an answer")
    run.recovered("oversized requests", time.monotonic())
    run.compare()  # what was taken by mistake would be counted
    return f"{len(cases)} kinds of oversized and cut requests"


def _length(body: bytes) -> bytes:
    return b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n"


def fuzzed(run: Run) -> str:
    """H3: requests made up from the service's own description, and bytes that are none."""
    address = _address(run)
    maker = Maker(answer(run.stack, "/openapi.json"), run.random)
    found: Counter[int] = Counter()
    key = run.stack.env["CONFIG_API_KEY"].encode()
    many = run.choose(3_000, 400)
    for number in range(many):
        sent = _made_up(run.random, maker, key) if number % 4 else _bytes(run.random)
        status, received = exchange(address, sent, cut=True)
        found[status] += 1
        is_late = status == 503 and b"\r\nRetry-After: " in received and sent.startswith(_KAFKA_WAITED_FOR)
        run.must(f"{status} to {sent[:120]!r}", status < 500 or is_late)
        run.must(f"no problem+json: {sent[:120]!r}", not 400 <= status < 500 or PROBLEM in received)
        if status == 200 and sent.startswith(b"PUT /api/config/weights"):
            body = json.loads(received.partition(b"\r\n\r\n")[2])
            run.traffic.ledger.book_weights(body["weights"], body["version"])
    run.note("requests", many)
    run.note("statuses", ", ".join(f"{count} × {status or 'none'}" for status, count in sorted(found.items())))
    run.recovered("fuzzing", time.monotonic())
    return f"{many} made-up requests to {len(maker.routes)} routes, a quarter of them raw bytes"


_KAFKA_WAITED_FOR = (b"POST /send_rating", b"POST /push_interest/", b"POST /send_kafka/")
"""They may be right, and then a Kafka that does not acknowledge within ``API_INGEST_TIMEOUT_MS`` makes them a 503."""


def _made_up(lots: random.Random, maker: Maker, key: bytes) -> bytes:
    """Make a request to one of the routes; events that could go to Kafka have no product, so that none counts."""
    request = maker.request(*lots.choice(maker.routes))
    method, body = request.method, b""
    if lots.random() < 0.1:
        method = lots.choice(("DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "POST", "PUT"))
    if request.body is not None or lots.random() < 0.1:
        body = _body(
            lots, without_products(lots, request.body) if request.target.startswith("/update") else request.body
        )
    headers = [b"Host: x", b"Content-Length: " + str(len(body)).encode()]
    headers += [f"{name}: {value}".encode() for name, value in request.headers.items()]
    if lots.random() < 0.7:
        headers.append(b"X-API-Key: " + key)
    if lots.random() < 0.8:
        headers.append(b"Content-Type: application/json")
    if lots.random() < 0.2:
        headers.append(
            lots.choice((b'If-Match: "1"', b"If-Match: W/x", b"If-None-Match: *", b"Range: bytes=0-", b"Expect: x"))
        )
    return f"{method} {request.target} HTTP/1.1\r\n".encode() + b"\r\n".join(headers) + b"\r\n\r\n" + body


def _body(lots: random.Random, value: object) -> bytes:
    chance = lots.random()
    if chance < 0.1:
        return lots.randbytes(lots.randrange(60))
    if chance < 0.15:
        return b"[" * lots.randrange(5_000)
    return json.dumps(value).encode()


def _bytes(lots: random.Random) -> bytes:
    start = lots.choice(
        (
            b"",
            b"GET ",
            b"GET / HTTP/1.1\r\n",
            b"POST /update HTTP/1.1\r\nContent-Length: ",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        )
    )
    return start + lots.randbytes(lots.randrange(1, 200)) + lots.choice((b"", b"\r\n\r\n"))


def lost_workers(run: Run) -> str:
    """H4: SIGKILL of a worker, reload and end of the service while it is asked."""
    master = run.stack.pid("api")
    with run.traffic.flowing(chunk=50):
        for _ in range(run.choose(3, 1)):
            _killed_worker(run, master)
        for _ in range(run.choose(3, 1)):
            _reloaded(run, master)
        with run.reading(fresh_connections=True) as asking:
            run.waits(1, 2)
            gone, began = run.stack.kill("api", signal.SIGTERM), time.monotonic()
            wait_until("the end of the service", lambda: run.stack.pid("api") != gone, pause=0.02)
            found = asking.taken()
            run.another("api", gone)
        failures = [each for each in found.failures.split(", ") if each and "ConnectionRefused" not in each]
        run.must(f"SIGTERM: {failures}", not failures)
        run.note("SIGTERM: answers until the end", found.answers - found.failed)
        run.recovered("SIGTERM of the service", began)
    return "SIGKILL of a worker, reload (SIGHUP) and SIGTERM of the service under load"


def _reloaded(run: Run, master: int) -> None:
    with run.reading(fresh_connections=True) as asking:
        before = _workers(master)
        psutil.Process(master).send_signal(signal.SIGHUP)
        wait_until("new workers", lambda: len(_workers(master) - before) >= 2 and not _workers(master) & before)
        time.sleep(2)
    found = asking.taken()
    run.note("reload: answers", found.answers)
    run.must(f"reload: {found.failed} of {found.answers} failed ({found.failures})", found.failed == 0)


def _workers(master: int) -> set[int]:
    return {each.pid for each in psutil.Process(master).children()}


def _killed_worker(run: Run, master: int) -> None:
    with run.reading() as asking:
        before = _workers(master)
        victim = run.random.choice(sorted(before))
        psutil.Process(victim).kill()
        wait_until("another worker", lambda: len(_workers(master) - {victim}) >= 2)
        time.sleep(1)
        asked = asking.taken()
        time.sleep(2)
        after = asking.taken()
    run.note("SIGKILL of a worker: requests lost with it", asked.failed)
    run.must(f"SIGKILL of a worker: {asked.failed} requests lost by two readers", asked.failed <= 2)
    run.must(f"after another worker was there {after.failed} failed", after.failed == 0)


def overloaded(run: Run) -> str:
    """H5: twice as many requests as can be answered; what is too much is refused quickly."""
    seconds = run.choose(15, 5)
    address = _address(run)
    load = ask(address, _recommendations(run), whole_http, good_http, connections=16, seconds=seconds)
    run.note("peak: answers a second", load.answers_a_second)
    run.must(f"{load.failed} failed at the peak", load.failed == 0)
    began = time.monotonic() + seconds
    flood = offer(address, _recommendations(run), 2 * load.answers_a_second, seconds)
    wait_until("an answer in time", lambda: _seconds_of(address, b"/recommend/user-1") < 0.1, pause=0.05)
    again = time.monotonic() - began
    goodput = len(flood.good) / flood.seconds / load.answers_a_second
    run.note("offered", flood.offered)
    run.note("good", len(flood.good))
    run.note("refused", len(flood.refused))
    run.note("without an answer", flood.failed)
    run.note("p95 of good ms", 1000 * quantile(flood.good, 0.95))
    run.note("p95 of refused ms", 1000 * quantile(flood.refused, 0.95) if flood.refused else 0)
    run.note("goodput, share of the peak", goodput)
    run.note("answers in time again after s", again)
    run.must(f"{flood.failed} requests without an answer", flood.failed == 0)
    run.must(f"{flood.other} answers other than 200, 429 and 503", flood.other == 0)
    run.in_time("p95 of the refusals", quantile(flood.refused, 0.95) if flood.refused else 0, REFUSED_SECONDS)
    if goodput < LEAST_GOODPUT:
        run.late.append(f"goodput fell to {100 * goodput:.0f} % of the peak, at least {100 * LEAST_GOODPUT:.0f} %")
    run.in_time("recovery from the flood", again, 10)
    run.traffic.send(100)
    run.recovered("the flood", began)
    return "twice as many requests a second as can be answered"


def _recommendations(run: Run) -> Iterator[bytes]:
    while True:
        yield f"GET /recommend/user-{run.random.randrange(50)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
