"""Z1 to Z4: ZooKeeper away, and documents that must be refused."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError
from prometheus_client.parser import text_string_to_metric_families

from faults.at_rest import answer, put_weights
from faults.patience import wait_until
from faults.run import Run

NODE = "/config/recommendation/weights"
APPLIED_SECONDS = 1.0
_FRESH_LOOKS = 8


@contextmanager
def zookeeper(run: Run) -> Iterator[Any]:
    """Give a client of its own, as anybody may have one."""
    client = KazooClient(run.stack.env["ZOOKEEPER_HOSTS"], timeout=4)
    client.start(timeout=60)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def draw_weights(run: Run) -> dict[str, float]:
    """Draw weights; each call gives others."""
    lots = run.random
    return {"view": lots.randint(0, 9), "add_to_cart": lots.randint(0, 99) / 4, "purchase": lots.randint(1, 99)}


def _set(client: Any, weights: dict[str, float], seconds: float = 60) -> int:
    """Set the node as soon as ZooKeeper takes it, and give the version."""
    data = json.dumps(weights).encode()
    done: list[int] = []

    def taken() -> bool:
        with suppress(KazooException, KazooTimeoutError):
            done.append(client.set_async(NODE, data).get(timeout=1).mzxid)
        return bool(done)

    wait_until("ZooKeeper takes a document", taken, seconds, pause=0.02)
    return done[0]


def _in_force_everywhere(run: Run, version: int) -> bool:
    """Whether so many answers in a row name the version that each worker has given some."""
    return all(run.weights_in_force() == version for _ in range(_FRESH_LOOKS))


def _applied_in_time(run: Run, weights: dict[str, float], version: int, since: float) -> None:
    wait_until("the document in force in every worker", lambda: _in_force_everywhere(run, version), pause=0.01)
    seconds = time.monotonic() - since
    run.traffic.ledger.book_weights(weights, version)
    run.note("weights in force everywhere after s", seconds)
    run.in_time("weights in force everywhere", seconds, APPLIED_SECONDS)


def killed_zookeeper(run: Run) -> str:
    """Z1: SIGKILL to ZooKeeper; weights are set the moment it is back."""
    times = run.choose(5, 2)
    for _ in range(times):
        with run.traffic.flowing(chunk=50), zookeeper(run) as client:
            normal = run.normal()
            weights = draw_weights(run)
            with run.reading() as asking:
                began = time.monotonic()
                run.stack.kill("zookeeper")
                version = _set(client, weights)
                since = time.monotonic()
                run.note("ZooKeeper was away for s", since - began)
                _applied_in_time(run, weights, version, since)
            run.must_serve("ZooKeeper killed", asking.taken(), normal)
            run.recovered("ZooKeeper's return", since)
    return f"SIGKILL of ZooKeeper {times} times, weights set by another client at its return"


def paused_zookeeper(run: Run) -> str:
    """Z2: ZooKeeper stands still for longer than a session; a worker does; weights change at the end of it."""
    seconds = run.choose(20, 9)
    with run.traffic.flowing(chunk=50), zookeeper(run) as client:
        normal = run.normal()
        weights = draw_weights(run)
        with run.reading() as asking:
            stopped = run.stack.kill("zookeeper", signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                os.kill(stopped, signal.SIGCONT)
            version = _set(client, weights)
            _applied_in_time(run, weights, version, time.monotonic())
        run.must_serve("ZooKeeper paused", asking.taken(), normal)
        run.recovered("ZooKeeper's return", time.monotonic())
        _expired_session(run, client)
    return f"SIGSTOP of ZooKeeper for {seconds} s; a worker's session expired while weights changed"


def _expired_session(run: Run, client: Any) -> None:
    """Stop one worker of the service until ZooKeeper has ended its session, and change the weights meanwhile."""
    worker = run.random.choice(psutil.Process(run.stack.pid("api")).children())
    weights = draw_weights(run)
    worker.send_signal(signal.SIGSTOP)
    try:
        prefix = f"-{worker.pid}-"
        wait_until(
            "the session expired", lambda: not any(prefix in name for name in client.get_children("/reweigh/members"))
        )
        version = _set(client, weights)
    finally:
        worker.send_signal(signal.SIGCONT)
    since = time.monotonic()
    _applied_in_time(run, weights, version, since)


def cold_start(run: Run) -> str:
    """Z3: service, sweeper and job start while there is no ZooKeeper, and go on with the weights of before."""
    version = put_weights(run.stack, run.traffic.ledger, draw_weights(run))
    run.traffic.send(200)
    run.compare()
    run.stack.supervisor.stop_program("zookeeper")
    try:
        with run.traffic.flowing(chunk=50):
            for server in ("api", "sweeper", "taskmanager"):
                gone = run.stack.kill(server)
                run.another(server, gone)
            run.recovered("a start without ZooKeeper", time.monotonic())
            ready = answer(run.stack, "/readyz")
            run.note("readyz says", f"{ready['status']}, zookeeper available: {ready['zookeeper']['available']}")
            run.must("readyz does not tell that ZooKeeper is away", ready["zookeeper"]["available"] is False)
            run.must("another version than the last good one is in force", _in_force_everywhere(run, version))
            run.must("an answer hides that it is degraded", answer(run.stack, "/recommend/user-1")["degraded"])
    finally:
        run.stack.supervisor.start_program("zookeeper")
        run.stack.wait_ready("zookeeper")
    began = time.monotonic()
    run.not_degraded()
    run.note("whole after ZooKeeper's return after s", time.monotonic() - began)
    return "service, sweeper and TaskManager killed and started without ZooKeeper"


def bad_documents(run: Run) -> str:
    """Z4: documents that must be refused, a node that goes, and a burst of good ones."""
    bad = [
        b"nonsense",
        b"",
        b"[]",
        b'{"view": -1, "add_to_cart": 3, "purchase": 5}',
        b'{"view": NaN, "add_to_cart": 3, "purchase": 5}',
        b'{"view": 1e999, "add_to_cart": 3, "purchase": 5}',
        b'{"view": 1, "add_to_cart": 3}',
        b'{"view": 0, "add_to_cart": 0, "purchase": 0}',
        b'{"view": 1, "add_to_cart": 3, "purchase": 5, "x": "' + b"y" * 900_000 + b'"}',
    ]
    with run.traffic.flowing(chunk=50), zookeeper(run) as client:
        before, version = _rejected(run), run.weights_in_force()
        for document in bad:
            client.set(NODE, document)
            time.sleep(0.3)  # each is to be seen; of quick changes a watcher sees the last
            run.must(f"{document[:40]!r} changed what is in force", _in_force_everywhere(run, version))
        _too_large(run, client)
        counted = _rejected(run) - before
        run.note("refusals counted over both workers", counted)
        run.must(f"{counted} refusals of {len(bad)} documents counted", counted >= len(bad))
        client.delete(NODE)
        time.sleep(0.3)
        run.must("a deleted node changed what is in force", _in_force_everywhere(run, version))
        client.create(NODE, b"")
        burst = [draw_weights(run) for _ in range(run.choose(500, 200))]
        for weights in burst:
            last = client.set(NODE, json.dumps(weights).encode()).mzxid
        _applied_in_time(run, burst[-1], last, time.monotonic())
    return f"{len(bad) + 1} bad documents, a deleted node, {len(burst)} quick changes"


def _too_large(run: Run, client: Any) -> None:
    """Send 2 MB, which ZooKeeper itself refuses by closing the connection."""
    version = run.weights_in_force()
    with suppress(KazooException, KazooTimeoutError):
        client.set_async(NODE, b'{"view": 2' + b" " * 2_000_000 + b"}").get(timeout=3)
    run.must("2 MB changed what is in force", _in_force_everywhere(run, version))
    wait_until("the client is connected again", lambda: client.connected)


def _rejected(run: Run) -> int:
    with urllib.request.urlopen(run.stack.env["API_URL"] + "/metrics", timeout=30) as found:
        families = text_string_to_metric_families(found.read().decode())
        return int(
            sum(
                sample.value
                for family in families
                for sample in family.samples
                if sample.name == "reweigh_rejected_documents_total" and sample.labels.get("name") == "weights"
            )
        )
