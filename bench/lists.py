"""Users a second whose lists `reweigh recommend publish` makes and sends, and `reweigh follow` keeps in Redis."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from bench import shop
from bench.commands import reweigh
from bench.errors import BenchmarkError
from bench.report import Cell, Report, median, significant, spread
from bench.workbench import Workbench
from deploy.local.home import CHECKOUT, STACK_ID_VARIABLE
from deploy.local.ports import free_port
from deploy.local.server import answers, get
from reccore.followed_topics import FollowedTopics

PARTS = ("zookeeper", "kafka", "redis")
USERS, USERS_QUICK = 50_000, 500
PRODUCTS = 1_700
HISTORIES = (5, 30)
_SECONDS = 1_800.0
_SENT = re.compile(r"^([\d,]+) users' lists sent to \S+, ([\d,]+) users/s$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Round:
    """One publication of everybody's list, and one process that follows it: users a second."""

    users: int
    published: float
    followed: float


def measure(bench: Workbench) -> Report:
    """Write a shop and a model, then publish and follow in turns; for short histories and for longer ones."""
    users = bench.size("users", USERS, USERS_QUICK)
    products = bench.size("products", PRODUCTS, PRODUCTS)
    found: dict[int, list[Round]] = {}
    sent = 0
    for history in HISTORIES:
        bench.empty_redis()
        owed = sent  # Redis has lost how far the topic was followed
        with bench.redis() as client:
            shop.write(client, users, products, history)
        shop.publish_model(bench.redis_url(), products)
        rounds = found[history] = []
        for _ in range(1 if bench.quick else bench.rounds):
            rounds.append(Round(users, _published(bench, users), _kept(bench, owed + users)))
            sent, owed = sent + users, 0
            rates = rounds[-1]
            bench.tell(f"histories of {history}: {rates.published:,.0f} users/s sent, {rates.followed:,.0f} kept")
    bench.empty_redis()
    return _report(users, products, found)


def _published(bench: Workbench, users: int) -> float:
    output = reweigh(("recommend", "publish"), ("--env", str(bench.stack.home.stack_env)), _SECONDS)
    sent = _SENT.search(output)
    if sent is None:
        raise BenchmarkError(f"reweigh recommend publish did not say how many lists it sent: {output[-500:]}")
    count, rate = (int(each.replace(",", "")) for each in sent.groups())
    if count != users:
        raise BenchmarkError(f"{count:,} lists of {users:,} users were sent")
    return rate


def _kept(bench: Workbench, lists: int) -> float:
    with _follower(bench) as port:
        began = time.perf_counter()
        bench.until("the follower to keep all lists", lambda: _followed(port) >= lists, _SECONDS, 0.05)
        return lists / (time.perf_counter() - began)


@contextmanager
def _follower(bench: Workbench) -> Iterator[int]:
    """Run the command, which ends with the stack at the latest; gives the port of its metrics."""
    port = free_port()
    own = {STACK_ID_VARIABLE: bench.stack.home.stack_id, "FOLLOW_METRICS_PORT": str(port)}
    command = (sys.executable, "-m", "reweigh.cli", "follow", "--env", str(bench.stack.home.stack_env))
    process = subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, **own}, stderr=subprocess.DEVNULL)
    try:
        bench.until("the follower to answer", lambda: answers(f"http://127.0.0.1:{port}/metrics"), pause=0.01)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def _followed(port: int) -> int:
    applied = f'follow_messages_total{{outcome="applied",topic="{FollowedTopics().recommendations}"}}'
    text = get(f"http://127.0.0.1:{port}/metrics")[1].decode()
    return sum(int(float(line.rpartition(" ")[2])) for line in text.splitlines() if line.startswith(applied))


def _report(users: int, products: int, found: dict[int, list[Round]]) -> Report:
    rows: list[tuple[Cell, ...]] = []
    for history, rounds in found.items():
        for what, rates in (
            ("made and sent", [significant(each.published) for each in rounds]),
            ("kept in Redis", [significant(each.followed) for each in rounds]),
        ):
            rows.append((f"{what}, histories of {history} products", significant(median(rates)), spread(rates)))
    return Report(
        title=f"lists: {users:,} users, ten products each of a model of {products:,}",
        columns=("", "users/s (median)", "lowest–highest"),
        rows=tuple(rows),
        notes=(
            f"{os.cpu_count()} processes make lists, one a processor; rounds: {len(found[HISTORIES[0]])}",
            "the clock of publishing begins when its processes are started, that of following when its process answers",
        ),
        data={str(history): [asdict(each) for each in rounds] for history, rounds in found.items()},
    )
