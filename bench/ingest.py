"""Events a second over HTTP, one by one and in batches, beside an answer that costs nothing and the Kafka clients."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TypeVar
from urllib.parse import urlsplit

from bench import synthetic
from bench.errors import BenchmarkError
from bench.load_client import Load, ask, good_http, whole_http
from bench.report import Cell, Report, median, significant, spread
from bench.workbench import Workbench
from recsvc.confluent_publisher import ConfluentEventPublisher
from recsvc.ingest import EventPublisher, Message, Placed
from recsvc.kafka_publisher import KafkaEventPublisher

Item = TypeVar("Item")

PARTS = ("zookeeper", "kafka", "redis", "api")
SINGLE_CONNECTIONS, BATCH_CONNECTIONS = 16, 4
EVENTS_A_BATCH = 1_000
SECONDS, SECONDS_QUICK = 10, 2
_BATCHES = 20
_SEED = 11


def measure(bench: Workbench) -> Report:
    """Post the same events again and again: to Kafka, which counts nothing, they are as good as new ones."""
    seconds = bench.size("seconds", SECONDS, SECONDS_QUICK)
    records = list(synthetic.events(_BATCHES * EVENTS_A_BATCH, _SEED))
    messages = [Message(synthetic.TOPICS[kind], user.encode(), value) for kind, user, value in records]
    host = urlsplit(bench.stack.addresses.api_url).netloc
    values = [value for _, _, value in records]
    single = [_request(host, "/update", each) for each in values]
    batches = [_request(host, "/update/batch", b"[" + b",".join(some) + b"]") for some in _in_batches(values)]
    nothing = [f"GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()]
    bench.until("an event to be taken", lambda: _ask(host, single, 1, 0.2).failed == 0)
    found: dict[str, list[Load]] = {"single": [], "batch": [], "livez": []}
    alone: dict[str, list[float]] = {"confluent-kafka": [], "kafka-python": []}
    for _ in range(1 if bench.quick else bench.rounds):
        found["single"].append(_ask(host, single, SINGLE_CONNECTIONS, seconds))
        found["batch"].append(_ask(host, batches, BATCH_CONNECTIONS, seconds))
        found["livez"].append(_ask(host, nothing, SINGLE_CONNECTIONS, seconds))
        for name, kind in (("confluent-kafka", ConfluentEventPublisher), ("kafka-python", KafkaEventPublisher)):
            publisher = kind(bench.kafka, most_in_flight=20_000, timeout_ms=30_000)
            alone[name].append(_published_a_second(publisher, list(_in_batches(messages))))
            publisher.stop()
        rate = EVENTS_A_BATCH * found["batch"][-1].answers_a_second
        bench.tell(f"{found['single'][-1].answers_a_second:,.0f} single and {rate:,.0f} batched events/s")
    return _report(found, alone, seconds)


def _in_batches(items: list[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), EVENTS_A_BATCH):
        yield items[start : start + EVENTS_A_BATCH]


def _request(host: str, path: str, body: bytes) -> bytes:
    lines = (f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


def _ask(host: str, requests: list[bytes], connections: int, seconds: float) -> Load:
    name, _, port = host.partition(":")
    return ask(
        (name, int(port)), itertools.cycle(requests), whole_http,
        lambda answer: good_http(answer) or answer[9:12] == b"202", connections=connections, seconds=seconds,
    )  # fmt: skip


def _published_a_second(publisher: EventPublisher, batches: list[list[Message]]) -> float:
    """Publish batches one after the other, as one request would; the first one only connects."""
    publisher.publish(batches[0])
    began = time.perf_counter()
    for batch in batches:
        if not all(isinstance(each, Placed) for each in publisher.publish(batch)):
            raise BenchmarkError("Kafka has not acknowledged a batch")
    return len(batches) * EVENTS_A_BATCH / (time.perf_counter() - began)


def _report(found: dict[str, list[Load]], alone: dict[str, list[float]], seconds: float) -> Report:
    rows = [
        _row(f"POST /update, {SINGLE_CONNECTIONS} connections", found["single"], 1, seconds),
        _row(
            f"POST /update/batch of {EVENTS_A_BATCH:,}, {BATCH_CONNECTIONS} connections",
            found["batch"],
            EVENTS_A_BATCH,
            seconds,
        ),
        _row("GET /livez: gunicorn, Flask and metrics alone", found["livez"], 1, seconds),
    ]
    for name, rates in alone.items():
        rounded = [significant(rate) for rate in rates]
        rows.append(
            (f"{name} alone, {EVENTS_A_BATCH:,} at a time", significant(median(rates)), spread(rounded), "", "")
        )
    return Report(
        title="ingest: events over HTTP into Kafka, two workers, acknowledged by all replicas",
        columns=("", "events/s (median)", "lowest–highest", "p50 ms", "p95 ms"),
        rows=tuple(rows),
        notes=(
            f"turn and turn about on one machine with the client, rounds: {len(found['single'])}; ms are of a request; "
            "/livez: requests/s",
            f"requests that Kafka did not acknowledge in time, so that they were refused: {_refused(found):,}",
        ),
        data={**{name: [asdict(each) for each in loads] for name, loads in found.items()}, "alone": alone},
    )


def _refused(found: dict[str, list[Load]]) -> int:
    return sum(load.failed for loads in found.values() for load in loads)


def _row(name: str, loads: list[Load], events: int, seconds: float) -> tuple[Cell, ...]:
    rates = [significant(events * (each.answers_a_second - each.failed / seconds)) for each in loads]
    p50, p95 = median([each.p50_ms for each in loads]), median([each.p95_ms for each in loads])
    return name, significant(median(rates)), spread(rates), round(p50, 2), round(p95, 2)
