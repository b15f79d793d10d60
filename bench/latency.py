"""From an event sent to its score in Redis, and to the answer of the service that holds it."""

from __future__ import annotations

import http.client
import random
import time
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson
from confluent_kafka import Producer

from bench import synthetic
from bench.background import offered
from bench.errors import BenchmarkError
from bench.flink_runs import profile_job
from bench.report import Cell, Report, median, quantile
from bench.workbench import Workbench
from bench.written import totals
from reccore import layout

PARTS = ("zookeeper", "kafka", "redis", "flink", "api", "sweeper")
PROBES, PROBES_QUICK = 200, 30
RATE = 2_000
_WARM_UP_RECORDS, _WARM_UP_RECORDS_QUICK = 300_000, 150_000
_WARM_UP_PROBES = 20
_SETTLE_SECONDS = 30.0
_TAG = "probe"
_PATIENCE_SECONDS = 60.0
_SEEDS = {"warm-up": 2_000, "load": 2_001}


@dataclass(slots=True)
class Latencies:
    """Milliseconds from an event sent to its score in Redis, and to the answer of the service that holds it."""

    to_redis: list[float] = field(default_factory=list)
    to_answer: list[float] = field(default_factory=list)


class Prober:
    """Sends one event of a new person at a time and asks until it shows."""

    def __init__(self, bench: Workbench, redis_client: Any) -> None:
        self._redis = redis_client
        self._producer = Producer({"bootstrap.servers": bench.kafka, "linger.ms": 0, "acks": "all"})
        self._http = http.client.HTTPConnection(urlsplit(bench.stack.addresses.api_url).netloc, timeout=5)
        self._random = random.Random(7)
        self._run, self._sent = time.time_ns(), 0

    def probe(self, count: int) -> Latencies:
        """Make ``count`` probes, one after the other, at moments that keep no step with the job's timers."""
        self._http.close()  # the service has ended an idle connection; the next request makes a new one
        found = Latencies()
        for _ in range(count):
            time.sleep(self._random.uniform(0.05, 0.15))
            to_redis, to_answer = self._once()
            found.to_redis.append(to_redis)
            found.to_answer.append(to_answer)
        return found

    def close(self) -> None:
        """End the clients."""
        self._http.close()
        self._producer.flush(10)

    def _once(self) -> tuple[float, float]:
        self._sent += 1
        user_id = f"probe-{self._run}-{self._sent}"
        event = {"event_id": user_id, "user_id": user_id, "product_id": "product-1", "event_type": "view"}
        value = orjson.dumps({**event, "tags": [_TAG]})
        key = layout.profile_key(user_id)
        began = time.perf_counter()
        self._producer.produce(synthetic.TOPICS[0], value, user_id.encode())
        self._producer.poll(0)
        deadline = began + _PATIENCE_SECONDS
        while self._redis.hget(key, _TAG) is None:
            self._give_up(deadline)
            time.sleep(0.002)
        in_redis = time.perf_counter()
        while not self._answered(user_id):
            self._give_up(deadline)
        return (in_redis - began) * 1000, (time.perf_counter() - began) * 1000

    def _answered(self, user_id: str) -> bool:
        self._http.request("GET", f"/recommend/{user_id}")
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise BenchmarkError(f"GET /recommend answered {answer.status}: {body[:200]!r}")
        return any(each["tag"] == _TAG for each in orjson.loads(body)["tags"])

    @staticmethod
    def _give_up(deadline: float) -> None:
        if time.perf_counter() > deadline:
            raise BenchmarkError(f"an event was not to be seen within {_PATIENCE_SECONDS:.0f} s")


def measure(bench: Workbench) -> Report:
    """Probe at rest, then under load; the job runs with the settings it has for everybody."""
    probes = bench.size("probes", PROBES, PROBES_QUICK)
    bench.empty_redis()
    with profile_job(bench), bench.redis() as client:
        prober = Prober(bench, client)
        try:
            _warm_up(bench, client, prober)
            bench.tell(f"{probes} probes at rest")
            at_rest = prober.probe(probes)
            with offered(bench, bench.size("rate", RATE, RATE), _SEEDS["load"]) as load:
                time.sleep(bench.size("settle_seconds", int(_SETTLE_SECONDS), int(_SETTLE_SECONDS)))
                bench.tell(f"{probes} probes under load")
                under_load = prober.probe(probes)
        finally:
            prober.close()
    return _report(at_rest, under_load, load)


def _warm_up(bench: Workbench, client: Any, prober: Prober) -> None:
    records = bench.size("warm_up_records", _WARM_UP_RECORDS, _WARM_UP_RECORDS_QUICK)
    bench.tell(f"warming up with {records:,} records")
    before = totals(client).records_in
    synthetic.produce(bench.kafka, records, _SEEDS["warm-up"])
    bench.until("the warm-up to be read", lambda: totals(client).records_in >= before + records)
    prober.probe(min(_WARM_UP_PROBES, bench.size("probes", PROBES, PROBES_QUICK)))


def _report(at_rest: Latencies, under_load: Latencies, load: dict[str, Any]) -> Report:
    rate = load["records_a_second"]
    named = {"at rest": at_rest, f"at {rate:,.0f} events/s": under_load}
    rows: list[tuple[Cell, ...]] = []
    for name, found in named.items():
        rows.append((f"sent → score in Redis, {name}", *_figures(found.to_redis)))
        rows.append((f"sent → in GET /recommend, {name}", *_figures(found.to_answer)))
    return Report(
        title=f"latency: one event at a time, {len(at_rest.to_redis)} probes each, milliseconds",
        columns=("", "p50", "p95", "max"),
        rows=tuple(rows),
        notes=(
            "each probe is an event of a new person, sent 50–150 ms after the one before was seen; Redis is asked "
            "every two milliseconds, the service from then on, so its figure is at most one request too high",
            f"settings of the job: its defaults, as in the stream run; offered beside it: {rate:,.0f} events/s "
            f"({load['records']:,} in all) by a process of its own",
        ),
        data={"at_rest": asdict(at_rest), "under_load": asdict(under_load), "load": load, "unit": "milliseconds"},
    )


def _figures(values: list[float]) -> tuple[Cell, ...]:
    return round(median(values), 1), round(quantile(values, 0.95), 1), round(max(values), 1)
