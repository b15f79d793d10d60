"""Requests a second of ``GET /recommend``, beside an answer that costs the service nothing, and a bare HGETALL."""

from __future__ import annotations

import csv
import itertools
import json
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import stored_users
from bench.errors import BenchmarkError
from bench.load_client import Load, ask, good_http, whole_http, whole_redis_array
from bench.report import Cell, Report, median, significant, spread
from bench.workbench import Workbench
from deploy.local.server import get
from reccore import encoding, layout

PARTS = ("zookeeper", "redis", "api")
USERS, PRODUCTS, TAGS, ALL_TAGS, TAGS_A_PRODUCT = 1_000, 1_700, 40, 200, 3
CONNECTIONS = 16
SECONDS, SECONDS_QUICK = 10, 3
_RECOMMEND, _NOTHING = "/recommend/user-%d", "/livez?user=%d"
_BOUGHT = 5
_NEWEST_MS = 1_700_000_000_000
_WRK_SCRIPT = """
local number = 0
request = function()
  number = number + 1
  return wrk.format("GET", string.format("%s", number * 7919 %% %d))
end
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\n{"answers": %%d, "microseconds": %%d, "p50": %%f, "p95": %%f, "failed": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def measure(bench: Workbench) -> Report:
    """Write users and statistics, let the service load them, and ask."""
    users = bench.size("users", USERS, USERS)
    seconds = bench.size("seconds", SECONDS, SECONDS_QUICK)
    bench.empty_redis()
    with bench.redis() as client:
        _write(client, users, bench.size("products", PRODUCTS, PRODUCTS))
    bench.until("the service to know the products", lambda: _knows_products(bench))
    _ask_service(bench, _RECOMMEND, users, seconds=min(seconds, 3))  # warms up
    answers, empty, bare, degraded = [], [], [], _degraded(bench)
    for _ in range(1 if bench.quick else bench.rounds):
        answers.append(_ask_service(bench, _RECOMMEND, users, seconds))
        empty.append(_ask_service(bench, _NOTHING, users, seconds))
        bare.append(_ask_redis(bench, seconds))
        bench.tell(f"{answers[-1].answers_a_second:,.0f} requests/s, p95 {answers[-1].p95_ms:.1f} ms")
    size, degraded = len(_answer(bench, 0)), _degraded(bench) - degraded
    bench.empty_redis()
    return _report(answers, empty, bare, size, degraded)


def _write(client: Any, users: int, products: int) -> None:
    numbers = range(users)
    stored_users.write_counts(client, numbers, TAGS, ALL_TAGS)
    stored_users.write_profiles(client, numbers, TAGS, ALL_TAGS)
    draw = random.Random(5)
    of_tags = {f"tag-{tag}": [0, 0, 0] for tag in range(ALL_TAGS)}
    rows: dict[str, str] = {}
    catalogue: dict[str, str] = {}
    for number in range(products):
        counts = [1 + 40_000 // (number + 10), 1 + 1_000 // (number + 10), 300 // (number + 10)]
        tags = [f"tag-{tag}" for tag in draw.sample(range(ALL_TAGS), TAGS_A_PRODUCT)]
        rows[f"product-{number}"] = encoding.encode_product_statistics(counts, _NEWEST_MS, tags)
        product = {"name": f"Product {number}", "tags": tags, "price": number / 4, "category": "shop"}
        catalogue[f"product-{number}"] = json.dumps(product)
        for tag in tags:
            of_tags[tag] = [have + more for have, more in zip(of_tags[tag], counts, strict=True)]
    tag_rows = {tag: encoding.encode_tag_statistics(counts, _NEWEST_MS) for tag, counts in of_tags.items()}
    pipeline = client.pipeline(transaction=False)
    for number in numbers:
        pipeline.sadd(layout.purchased_key(stored_users.user_id(number)), *draw.sample(sorted(rows), _BOUGHT))
    pipeline.hset(layout.PRODUCT_STATISTICS, mapping=rows)
    pipeline.hset(layout.TAG_STATISTICS, mapping=tag_rows)
    pipeline.hset(layout.CATALOG, mapping=catalogue)
    pipeline.incrby(layout.CATALOG_VERSION, 1 + random.SystemRandom().randint(1, 10**9))  # tells every worker to load
    pipeline.execute()


def _answer(bench: Workbench, number: int) -> bytes:
    status, body = get(f"{bench.stack.addresses.api_url}/recommend/{stored_users.user_id(number)}")
    return body if status == 200 else b"{}"


def _degraded(bench: Workbench) -> int:
    """Count the answers that the service has given from memory because Redis took too long."""
    _, text = get(f"{bench.stack.addresses.api_url}/metrics", 10)
    found = [line.split() for line in text.decode().splitlines() if line.startswith("reweigh_degraded_answers_total")]
    return sum(int(float(value)) for _, value in found)


def _knows_products(bench: Workbench) -> bool:
    """Whether many answers in a row, from whichever worker, hold products of the user's own tags."""
    return all(
        any(product["source"] == "tags" for product in json.loads(_answer(bench, number)).get("products", []))
        for number in range(20)
    )


def _ask_service(bench: Workbench, path: str, users: int, seconds: int) -> Load:
    wrk = shutil.which("wrk")
    url = bench.stack.addresses.api_url
    load = _wrk(wrk, url, path, users, seconds) if wrk else _own_requests(url, path, users, seconds)
    if load.failed:
        raise BenchmarkError(f"{load.failed} requests failed")
    return load


def _wrk(wrk: str, url: str, path: str, users: int, seconds: int) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "users.lua"
        script.write_text(_WRK_SCRIPT % (path, users))
        command = (wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), url)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if done.returncode:
        raise BenchmarkError(f"wrk failed: {done.stderr[-500:]}{done.stdout[-500:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    rate = found["answers"] / found["microseconds"] * 1e6
    return Load("wrk", rate, found["p50"] / 1000, found["p95"] / 1000, found["failed"])


def _own_requests(url: str, path: str, users: int, seconds: int) -> Load:
    netloc = urlsplit(url).netloc
    host, _, port = netloc.partition(":")

    def requests() -> Iterator[bytes]:
        for number in itertools.count():
            yield f"GET {path % (number * 7919 % users)} HTTP/1.1\r\nHost: {netloc}\r\n\r\n".encode()

    return ask((host, int(port)), requests(), whole_http, good_http, connections=CONNECTIONS, seconds=seconds)


def _ask_redis(bench: Workbench, seconds: int) -> Load:
    key = layout.counts_key(stored_users.user_id(0))
    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    port = bench.stack.addresses.ports["redis"]
    if program is None:
        request = f"*2\r\n$7\r\nHGETALL\r\n${len(key)}\r\n{key}\r\n".encode()
        asked = itertools.repeat(request)
        return ask(
            ("127.0.0.1", port), asked, whole_redis_array, lambda answer: answer[:1] == b"*",
            connections=CONNECTIONS, seconds=seconds,
        )  # fmt: skip
    count = str(20_000 * seconds)
    command = (program, "-p", str(port), "-c", str(CONNECTIONS), "-n", count, "--csv", "HGETALL", key)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise BenchmarkError(f"{program} failed: {done.stderr[-500:]}")
    line = list(csv.DictReader(done.stdout.splitlines()))[-1]
    found = {name: float(line[name]) for name in ("rps", "p50_latency_ms", "p95_latency_ms")}
    return Load(Path(program).name, found["rps"], found["p50_latency_ms"], found["p95_latency_ms"])


def _report(answers: list[Load], empty: list[Load], bare: list[Load], size: int, degraded: int) -> Report:
    return Report(
        title=f"recommend: {TAGS} tags a user, {PRODUCTS:,} products, two workers, {CONNECTIONS} connections",
        columns=("", "requests/s (median)", "lowest–highest", "p50 ms", "p95 ms"),
        rows=(
            _row("GET /recommend", answers),
            _row("GET /livez: gunicorn, Flask and metrics alone", empty),
            _row("bare HGETALL of the counts", bare),
        ),
        notes=(
            f"asked by {answers[0].client} and {bare[0].client} on the same machine, turn and turn about, "
            f"rounds: {len(answers)}; users taken in turn; an answer of ten tags and ten products has {size:,} bytes",
            "ZooKeeper, Redis and the service run, the job does not; answers from memory, because Redis took too long: "
            f"{degraded:,}",
        ),
        data={
            "recommend": [asdict(each) for each in answers],
            "livez": [asdict(each) for each in empty],
            "hgetall": [asdict(each) for each in bare],
            "degraded": degraded,
        },
    )


def _row(name: str, loads: list[Load]) -> tuple[Cell, ...]:
    rates = [significant(each.answers_a_second) for each in loads]
    p50, p95 = median([each.p50_ms for each in loads]), median([each.p95_ms for each in loads])
    return name, significant(median(rates)), spread(rates), round(p50, 2), round(p95, 2)
