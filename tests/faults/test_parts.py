"""The parts of the fault suite that need no server."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from itertools import cycle, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from deploy.local.settings import PORTS
from faults import __main__ as command
from faults import streams
from faults.__main__ import main
from faults.clocks import clock_library
from faults.errors import DoesNotHold
from faults.flood import offer
from faults.ledger import Ledger
from faults.made_up import MadeUp, Maker, without_products
from faults.patience import wait_until
from faults.poison import LARGE_POISON, POISON
from faults.proxy import ProxiedStack
from faults.registry import rows
from faults.resources import Resources
from faults.runner import Outcome
from faults.soak import growth
from faults.stores import Away
from flink_jobs.fast_parse import BatchParser
from reccore.errors import RejectedEvent
from reccore.event_types import EventTypes
from reccore.events import event_from_value
from recsvc.openapi import document

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
EVENT = {"event_id": "e", "user_id": "u", "product_id": "p", "timestamp": 5, "tags": ["a", "a", "b"]}


def test_ledger_counts_an_id_once() -> None:
    """Whatever comes again under the same id is read, and counts for nothing."""
    ledger = Ledger()
    for _ in range(3):
        ledger.book(dict(EVENT), "view")
    ledger.book({**EVENT, "event_id": "f", "user_id": "u"}, "purchase")
    assert (ledger.records, ledger.applied.total(), ledger.duplicates) == (4, 2, 2)
    assert ledger.scores("u") == {"a": 6, "b": 6}


def test_doubt_is_settled_by_what_kafka_holds() -> None:
    """What was sent without an acknowledgement may have been written; nothing else may be more or less."""
    ledger = Ledger()
    ledger.book(dict(EVENT), "view")
    ledger.in_doubt["view-events"] = 2
    ledger.settle({"view-events": 2})
    assert (ledger.records, ledger.duplicates) == (2, 1)
    for ends in (3, 1):  # nothing is in doubt any more
        with pytest.raises(DoesNotHold):
            ledger.settle({"view-events": ends})


def test_poison_is_what_it_says() -> None:
    """The job's parser gives each record the reason that its dead letter is compared with."""
    records = [*POISON, *LARGE_POISON]
    parsed = BatchParser(EventTypes.from_settings({})).parse(
        [value for value, _ in records], ["view"] * len(records), [0] * len(records)
    )
    assert {row: str(error.reason) for row, error in parsed.rejected.items()} == {
        row: str(reason) for row, (_, reason) in enumerate(records)
    }


def test_waiting_in_vain_says_for_what() -> None:
    """And waiting for what is there takes no time."""
    wait_until("something", lambda: True)
    with pytest.raises(DoesNotHold, match="the moon"):
        wait_until("the moon", lambda: False, 0.01)


def test_verdicts() -> None:
    """What is broken weighs more than what is late."""
    outcome = Outcome("S1", "fault", "must hold")
    assert outcome.verdict == "holds"
    outcome.late.append("took 3 s")
    assert outcome.verdict == "late"
    outcome.broken.append("lost")
    assert outcome.verdict == "does not hold"


class _Turns(socketserver.StreamRequestHandler):
    """Answers, refuses and says goodbye, and goes without a word, in turns."""

    def handle(self) -> None:
        while self.rfile.readline():
            self.rfile.readline()
            turn = next(self.server.turns)  # type: ignore[attr-defined]
            if turn == 2:
                return
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
                if turn == 0
                else b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            if turn == 1:
                return


def test_flood_tells_answers_from_refusals() -> None:
    """And from connections that end without an answer."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Turns) as server:
        server.turns = cycle((0, 0, 1, 2))  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            flood = offer(("127.0.0.1", server.server_address[1]), repeat(b"ask\r\n\r\n"), rate=400, seconds=0.2)
        finally:
            server.shutdown()
            thread.join()
    assert len(flood.good) + len(flood.refused) + flood.failed == flood.offered > 0
    assert flood.other == 0
    assert abs(len(flood.good) - 2 * len(flood.refused)) <= 2
    assert abs(len(flood.refused) - flood.failed) <= 1


def test_another_clock_is_changed_while_it_runs(tmp_path: Path) -> None:
    """An hour ahead, then an hour behind; and who waits is woken."""
    offset = tmp_path / "offset"
    offset.write_text("3600\n")
    program = (
        "import time, sys; print(int(time.time()), flush=True); sys.stdin.readline(); time.sleep(1.1);"
        "print(int(time.time()))"
    )
    environment = {**os.environ, "LD_PRELOAD": str(clock_library()), "CLOCK_OFFSET_FILE": str(offset)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, text=True, **pipes) as process:
        assert process.stdout is not None
        ahead = int(process.stdout.readline()) - time.time()
        offset.write_text("-3600\n")
        behind = int(process.communicate("go on\n", timeout=60)[0])
    assert 3_000 < ahead < 4_000
    assert -4_000 < behind - time.time() < -3_000


def test_the_python_workers_are_paused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """They write to Redis: with the TaskManager alone standing still there would be no zombie that writes."""
    worker = "import time; print('there', flush=True); time.sleep(60)"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    seen: list[list[str]] = []
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        both = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        pause = time.sleep

        def look() -> None:  # a signal takes a moment
            until, stopped = time.monotonic() + 15, not seen
            while time.monotonic() < until:
                if all((each.status() == psutil.STATUS_STOPPED) == stopped for each in both):
                    break
                pause(0.01)
            seen.append([each.status() for each in both])

        monkeypatch.setattr(time, "sleep", lambda _: look())

        def kill(_: str, number: int) -> int:
            os.kill(process.pid, number)
            return process.pid

        stack = SimpleNamespace(pid=lambda _: process.pid, kill=kill)
        run: Any = SimpleNamespace(
            quick=True,
            stack=stack,
            traffic=SimpleNamespace(flowing=nullcontext),
            progress=lambda: None,
            note=lambda *_: None,
            recovered=lambda *_: look(),
        )
        try:
            done = streams.paused_taskmanager(run)
        finally:
            for each in both:
                each.kill()
    assert seen[0] == [psutil.STATUS_STOPPED] * 2
    assert psutil.STATUS_STOPPED not in seen[-1]
    assert "Python workers for 10 s" in done


def test_time_away_is_measured() -> None:
    """The longest time without an answer; none is none."""
    with Away(lambda: True) as answering:
        time.sleep(0.12)
    assert answering.seconds == 0
    back = time.monotonic() + 0.3
    with Away(lambda: time.monotonic() > back) as away:
        time.sleep(0.5)
    assert away.seconds > 0.1


def test_every_row_is_documented() -> None:
    """The page has a line for each row."""
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| {name} |" in page for name in rows())


def test_unknown_rows_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is started for a name that is none; the ones that exist are named."""
    assert main(["S9"]) == 2
    assert "S1, S2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([{}], 0),
        ([{"late": ["took 3 s"]}], 1),
        ([{"not_possible": "no compiler"}], 3),
        ([{"not_possible": "no compiler"}, {"broken": ["lost"]}], 1),
    ],
)
def test_exit_status(
    outcomes: list[dict[str, Any]],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A row that could not be judged is told from one that holds, and the last line names it."""
    made = [Outcome("T1", "fault", "must hold", **each) for each in outcomes]
    monkeypatch.setattr(command, "_run_all", lambda _rows, _output, _wanted, found: found.extend(made))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["T1", "--output", str(tmp_path)]) == status
    finally:
        signal.signal(signal.SIGTERM, before)
    last = capsys.readouterr().out.splitlines()[-1]
    assert ("T1 (no compiler)" in last) is any("not_possible" in each for each in outcomes)


def _samples(*mebibytes: int, files: int = 10) -> list[dict[str, Resources]]:
    return [{"part": Resources(each << 20, files)} for each in mebibytes]


def test_what_goes_on_growing_is_told_from_what_fills_up() -> None:
    """A part that has reached its size holds; one that still grows in the last third of the time does not."""
    noted: dict[str, str] = {}
    full = _samples(300, 500, 900, 1_000, 990, 1_000, 1_010, 700, 1_000)
    assert growth(full, noted.__setitem__) == []
    assert noted["part: MiB by thirds"] == "900, 1000, 1010"
    growing = _samples(*range(300, 1_200, 100))
    assert growth(growing, noted.__setitem__) == ["part grew from 800 to 1100 MiB"]
    leaking = [*_samples(5, 5, 5, 5, 5, 5), *_samples(5, 5, 5, files=61)]
    assert growth(leaking, noted.__setitem__) == ["part has 61 files open, after 10"]


def made_up(seed: int, rounds: int, right: float = 0.8) -> list[MadeUp]:
    """Requests to each route of the service, so many rounds."""
    maker = Maker(document(["ranking", "weights"]), random.Random(seed), right=right)
    return [maker.request(*route) for _ in range(rounds) for route in maker.routes]


def test_made_up_requests_reach_whatever_is_described() -> None:
    """Every parameter of every route, and every member of what it takes; the same seed makes the same requests."""
    requests = made_up(1, 60)
    assert requests == made_up(1, 60) != made_up(2, 60)
    described = document(["ranking", "weights"])
    for path, found in described["paths"].items():
        route = re.compile(re.sub(r"\{[^}]*\}", ".*", path) + r"(\?.*)?", re.DOTALL)
        for method, operation in found.items():
            if method == "parameters":
                continue
            to_it = [each for each in requests if each.method == method.upper() and route.fullmatch(each.target)]
            sent = "".join(f"{each.target} {each.headers} {json.dumps(each.body)}" for each in to_it)
            parameters = (*found.get("parameters", ()), *operation.get("parameters", ()))
            unsent = [each["name"] for each in parameters if each["in"] != "path" and each["name"] not in sent]
            assert to_it
            assert not unsent, (method, path)
    sent = json.dumps([each.body for each in requests])
    for name in ("Event", "Rating", "Weights", "WhoseInterests"):
        for member in described["components"]["schemas"][name]["properties"]:
            assert f'"{member}": ' in sent, (name, member)


@pytest.mark.parametrize("right", [0.5, 1.0])
def test_no_made_up_event_counts(right: float) -> None:
    """Whatever else it holds, the job and the service refuse it."""
    types, lots, judged = EventTypes.from_settings({}), random.Random(1), 0
    for request in made_up(3, 100, right):
        if not request.target.startswith("/update"):
            continue
        value = without_products(lots, request.body)
        events = value.get("events", value) if isinstance(value, dict) else value
        for event in events if isinstance(events, list) else [events]:
            judged += isinstance(event, dict)
            with pytest.raises(RejectedEvent):
                event_from_value(event, b"", topic_type=None, record_time_ms=1, event_types=types)
    assert judged > 50


def test_everybody_in_a_proxied_stack_is_told_of_the_proxy(tmp_path: Path) -> None:
    """Servers and commands alike; only Redis itself listens where it always does."""
    stack = ProxiedStack(tmp_path, environment={}, tell=print)
    stack.home.create()
    (tmp_path / "ports.json").write_text(json.dumps(dict.fromkeys(PORTS, 1)))
    proxied = stack.env["REDIS_URL"]
    told = {server.program.name: server.program.env.get("REDIS_URL") for server in stack.servers()}
    assert ":1/" not in proxied
    assert {name for name, url in told.items() if url == proxied} == {"api", "sweeper"}  # others read stack.env
    assert {url for url in told.values() if url} == {proxied}
