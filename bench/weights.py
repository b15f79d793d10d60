"""From ``PUT`` weights to every worker's answer with the new version, and to stored scores that follow."""

from __future__ import annotations

import http.client
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench import stored_users
from bench.api_workers import WorkerConnection, one_a_worker
from bench.errors import BenchmarkError
from bench.flink_runs import profile_job
from bench.report import Cell, Report, median, quantile
from bench.workbench import Workbench
from reccore import layout

PARTS = ("zookeeper", "kafka", "redis", "flink", "api", "sweeper")
FEW_USERS, MANY_USERS, MANY_USERS_QUICK = 1_000, 100_000, 5_000
CHANGES, CHANGES_QUICK = 100, 20
TAGS, ALL_TAGS = 20, 2_000
_SWEEP_SECONDS = 600.0


@dataclass(slots=True)
class Changes:
    """Milliseconds of each change at one number of stored users, and the seconds of the sweep after the last one."""

    users: int
    to_every_worker: list[float] = field(default_factory=list)
    to_answer_of_put: list[float] = field(default_factory=list)
    sweep_seconds: float = 0.0
    scores_compared: int = 0
    scores_wrong: int = 0


class Changer:
    """Changes the weights over HTTP, to values never set before."""

    def __init__(self, bench: Workbench) -> None:
        self._http = http.client.HTTPConnection(urlsplit(bench.stack.addresses.api_url).netloc, timeout=30)
        self._headers = {"Content-Type": "application/json", "X-API-Key": bench.stack.env["CONFIG_API_KEY"]}
        self._random = random.Random(11)
        self.values: tuple[float, ...] = stored_users.WEIGHTS

    def change(self) -> int:
        """Set new weights, and give their version."""
        return self.put((1.0, self._random.randint(2, 10_000) / 8, self._random.randint(2, 10_000) / 8))

    def put(self, values: tuple[float, ...]) -> int:
        """Set these weights, and give their version."""
        self.values = values
        document = dict(zip(("view", "add_to_cart", "purchase"), self.values, strict=True))
        self._http.request("PUT", "/api/config/weights", json.dumps(document), self._headers)
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise BenchmarkError(f"PUT /api/config/weights answered {answer.status}: {body[:200]!r}")
        return int(json.loads(body)["version"])

    def close(self) -> None:
        """End the connection."""
        self._http.close()


def measure(bench: Workbench) -> Report:
    """Change the weights again and again, with few users stored and with many."""
    many = bench.size("users", MANY_USERS, MANY_USERS_QUICK)
    few = min(many, bench.size("few_users", FEW_USERS, FEW_USERS))
    bench.empty_redis()
    found = []
    with profile_job(bench):
        written = 0
        for users in (few, many):
            bench.tell(f"writing users up to {users:,}")
            _write(bench, range(written, users))
            written = users
            found.append(_changes(bench, users))
        changer = Changer(bench)
        changer.put(stored_users.WEIGHTS)  # as they were
        changer.close()
    bench.empty_redis()
    return _report(found)


def _write(bench: Workbench, numbers: range) -> None:
    with bench.redis() as client:
        stored_users.write_counts(client, numbers, TAGS, ALL_TAGS)
        stored_users.write_profiles(client, numbers, TAGS, ALL_TAGS)


def _changes(bench: Workbench, users: int) -> Changes:
    found = Changes(users)
    count = bench.size("changes", CHANGES, CHANGES_QUICK)
    changer, pauses = Changer(bench), random.Random(13)
    path = f"/recommend/{stored_users.user_id(0)}"
    try:
        changer.change()  # makes the connection, and the version differ from the one before the users were written
        bench.tell(f"{count} changes of the weights with {users:,} users stored")
        with one_a_worker(bench.stack, path) as workers, ThreadPoolExecutor(len(workers)) as pool:
            for _ in range(count):
                time.sleep(pauses.uniform(0.05, 0.15))
                _change_once(changer, workers, pool, found)
        with bench.redis() as client:
            began = time.perf_counter()
            version = changer.change()
            bench.until("the stored scores to follow", lambda: _swept(client) >= version, _SWEEP_SECONDS, 0.05)
            found.sweep_seconds = time.perf_counter() - began
            compared = stored_users.wrong_scores(client, range(users), changer.values)
            found.scores_compared, found.scores_wrong = compared
    finally:
        changer.close()
    return found


def _change_once(
    changer: Changer, workers: dict[int, WorkerConnection], pool: ThreadPoolExecutor, found: Changes
) -> None:
    before = max(connection.version() for connection in workers.values())
    waiting = [pool.submit(connection.first_newer, before) for connection in workers.values()]
    began = time.perf_counter()
    changer.change()
    found.to_answer_of_put.append((time.perf_counter() - began) * 1000)
    found.to_every_worker.append((max(each.result() for each in waiting) - began) * 1000)


def _swept(client: Any) -> int:
    return int(client.hget(layout.WEIGHTS_IN_FORCE, "swept") or -1)


def _report(found: list[Changes]) -> Report:
    rows: list[tuple[Cell, ...]] = []
    for each in found:
        rows.append((f"PUT → every worker answers, {each.users:,} users: ms", *_figures(each.to_every_worker)))
        rows.append((f"PUT → its own answer, {each.users:,} users: ms", *_figures(each.to_answer_of_put)))
    rows += [
        (f"PUT → all stored scores follow, {each.users:,} users: s", round(each.sweep_seconds, 2), None, None)
        for each in found
    ]
    compared = "; ".join(f"{each.scores_wrong} of {each.scores_compared:,} at {each.users:,} users" for each in found)
    return Report(
        title=f"weights: {len(found[0].to_every_worker)} changes each",
        columns=("", "p50", "p99", "max"),
        rows=tuple(rows),
        notes=(
            "one connection a worker, told apart by the sockets of the worker's process, each asking GET /recommend "
            "every millisecond; the clock runs from before the PUT is sent to the arrival of the last worker's first "
            "answer that names the new version",
            "the PUT's own answer waits, a second at most, until all processes that use the weights have them",
            "the sweep was started by a change after all the others; stored scores that differ from counts · weights "
            f"at its end: {compared}",
        ),
        data={"changes": [asdict(each) for each in found]},
    )


def _figures(values: list[float]) -> tuple[Cell, ...]:
    return round(median(values), 1), round(quantile(values, 0.99), 1), round(max(values), 1)
