"""Requests a second of ``GET /recommend``, beside an answer that costs the service nothing, and a bare HGETALL."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import shop, stored_users
from bench.errors import BenchmarkError
from bench.load_client import Load, ask, good_http, whole_http, whole_redis_array
from bench.report import Cell, Report, median, significant, spread
from bench.workbench import Workbench
from deploy.local.server import get
from reccore import layout
from recsvc.models.scorer import ALS, NEIGHBOURS

PARTS = ("zookeeper", "redis", "api")
USERS, PRODUCTS, HISTORY = 1_000, 1_700, 30
MANY, MANY_QUICK = 100_000, 5_000
CONNECTIONS = 16
SECONDS, SECONDS_QUICK = 10, 3
_RECOMMEND, _NOTHING = "/recommend/user-%d", "/livez?user=%d"
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


@dataclass(frozen=True, slots=True)
class Case:
    """A shop whose service is asked: by tags where nobody has a history of products, else by a model."""

    products: int
    history: int

    @property
    def source(self) -> str:
        """What answers."""
        return f"a model of {self.products:,} products" if self.history else "tags"

    def answers(self, products: Sequence[Mapping[str, Any]]) -> bool:
        """Whether these come from where they should."""
        sources = {each["source"] for each in products}
        return bool(sources & {NEIGHBOURS, ALS}) if self.history else "tags" in sources


def measure(bench: Workbench) -> Report:
    """Write a shop, let the service load it, and ask; by tags, then by models."""
    few, many = bench.size("products", PRODUCTS, PRODUCTS), bench.size("many_products", MANY, MANY_QUICK)
    seconds = bench.size("seconds", SECONDS, SECONDS_QUICK)
    answers: dict[str, list[Load]] = {}
    empty, bare, sizes, degraded = list[Load](), list[Load](), list[int](), _degraded(bench)
    for case in (Case(few, 0), Case(few, HISTORY), Case(many, HISTORY)):
        users = _prepare(bench, case)
        found = answers[case.source] = []
        for _ in range(1 if bench.quick else bench.rounds):
            found.append(_ask_service(bench, _RECOMMEND, users, seconds))
            empty.append(_ask_service(bench, _NOTHING, users, seconds))
            bare.append(_ask_redis(bench, seconds))
            bench.tell(f"by {case.source}: {found[-1].answers_a_second:,.0f} requests/s, p95 {found[-1].p95_ms:.1f} ms")
        sizes.append(len(_answer(bench, 0)))
    degraded = _degraded(bench) - degraded
    bench.empty_redis()
    return _report(answers, empty, bare, sizes, degraded)


def _prepare(bench: Workbench, case: Case) -> int:
    """Write the shop, wait until every worker answers by it, and warm up; gives the number of users."""
    users = bench.size("users", USERS, USERS)
    bench.empty_redis()
    with bench.redis() as client:
        shop.write(client, users, case.products, case.history)
    if case.history:
        shop.publish_model(bench.redis_url(), case.products)
    bench.until("the service to know the shop", lambda: _knows(bench, case))
    _ask_service(bench, _RECOMMEND, users, seconds=min(bench.size("seconds", SECONDS, SECONDS_QUICK), 3))
    return users


def _answer(bench: Workbench, number: int) -> bytes:
    status, body = get(f"{bench.stack.addresses.api_url}/recommend/{stored_users.user_id(number)}")
    return body if status == 200 else b"{}"


def _degraded(bench: Workbench) -> int:
    """Count the answers that the service has given from memory because Redis took too long."""
    _, text = get(f"{bench.stack.addresses.api_url}/metrics", 10)
    found = [line.split() for line in text.decode().splitlines() if line.startswith("reweigh_degraded_answers_total")]
    return sum(int(float(value)) for _, value in found)


def _knows(bench: Workbench, case: Case) -> bool:
    """Whether many answers in a row, from whichever worker, are as they should be."""
    return all(case.answers(json.loads(_answer(bench, number)).get("products", [])) for number in range(20))


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


def _report(
    answers: Mapping[str, list[Load]], empty: list[Load], bare: list[Load], sizes: list[int], degraded: int
) -> Report:
    by_tags = answers["tags"]
    return Report(
        title=f"recommend: {shop.TAGS} tags a user, histories of {HISTORY} products, two workers, "
        f"{CONNECTIONS} connections",
        columns=("", "requests/s (median)", "lowest–highest", "p50 ms", "p95 ms"),
        rows=(
            *(_row(f"GET /recommend, by {source}", loads) for source, loads in answers.items()),
            _row("GET /livez: gunicorn, Flask and metrics alone", empty),
            _row("bare HGETALL of the counts", bare),
        ),
        notes=(
            f"asked by {by_tags[0].client} and {bare[0].client} on the same machine, turn and turn about, "
            f"rounds: {len(by_tags)}; users taken in turn; answers of ten tags and ten products have "
            f"{', '.join(f'{size:,}' for size in sizes)} bytes",
            "ZooKeeper, Redis and the service run, the job does not; answers from memory, because Redis took too long: "
            f"{degraded:,}",
        ),
        data={
            "recommend": {source: [asdict(each) for each in loads] for source, loads in answers.items()},
            "livez": [asdict(each) for each in empty],
            "hgetall": [asdict(each) for each in bare],
            "degraded": degraded,
        },
    )


def _row(name: str, loads: list[Load]) -> tuple[Cell, ...]:
    rates = [significant(each.answers_a_second) for each in loads]
    p50, p95 = median([each.p50_ms for each in loads]), median([each.p95_ms for each in loads])
    return name, significant(median(rates)), spread(rates), round(p50, 2), round(p95, 2)
