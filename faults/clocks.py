"""T1: clocks that are wrong."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from deploy.local import Stack
from deploy.local.home import cache_folder
from faults.at_rest import answer, put_weights
from faults.errors import NotPossibleHere
from faults.run import Run

_STEP_SEEN_SECONDS = 2


def wrong_clock(run: Run) -> str:
    """T1: the service an hour ahead, then the TaskManager an hour behind, then its clock steps while it runs."""
    with tempfile.TemporaryDirectory(prefix="clock-") as folder:
        clock = Path(folder) / "offset"
        with _with_clock(run.stack, "api", clock, "+3600"):
            _serves_with_wrong_clock(run)
        with _with_clock(run.stack, "taskmanager", clock, "-3600"):
            began = time.monotonic()
            run.recovered("a start with a clock an hour behind", began)
            _repeats(run, "behind")
            with run.traffic.flowing():
                run.progress()
                for offset in ("+7200", "-7200"):  # from an hour behind to two ahead, and then back by four
                    clock.write_text(f"{offset}\n")
                    time.sleep(_STEP_SEEN_SECONDS)
                    run.progress(500)
                    run.recovered(f"a step to {offset} s", time.monotonic())
            _repeats(run, "stepped")
        run.recovered("the right time again", time.monotonic())
    return "service an hour ahead; TaskManager and its workers an hour behind, then stepping by hours while running"


def _repeats(run: Run, name: str) -> None:
    """Send events, and send them again: they count once."""
    events = [run.traffic.event(users=50) for _ in range(run.choose(1_000, 300))]
    for number, (event, _) in enumerate(events):
        event.setdefault("event_id", f"{run.row}-{run.seed}-{name}-{number}")
    run.traffic.send_these(events)
    run.compare()
    run.traffic.send_these(events)
    run.compare()


def _serves_with_wrong_clock(run: Run) -> None:
    with run.traffic.flowing(chunk=50), run.reading() as asking:
        run.progress()
        time.sleep(2)
    found = asking.taken()
    run.must(f"{found.failed} of {found.answers} failed ({found.failures})", found.failed == 0)
    put_weights(run.stack, run.traffic.ledger, {"view": 2, "add_to_cart": run.random.randint(3, 9), "purchase": 5})
    done = answer(run.stack, "/api/config/weights", {"view": 2, "add_to_cart": 3, "purchase": 7})
    run.traffic.ledger.book_weights(done["weights"], done["version"])
    run.must(f"a change took {done['took_ms']} ms", done["took_ms"] >= 0)
    with urllib.request.urlopen(run.stack.env["API_URL"] + "/metrics", timeout=30) as text:
        samples = [
            sample for family in text_string_to_metric_families(text.read().decode()) for sample in family.samples
        ]
    negative = [sample.name for sample in samples if sample.value < 0]
    run.must(f"negative: {negative}", not negative)
    run.note("metrics looked at", len(samples))


@contextmanager
def _with_clock(stack: Stack, name: str, clock: Path, offset: str) -> Iterator[None]:
    """Have one server of the stack run with another wall clock, and then again without."""
    clock.write_text(offset + "\n")
    environment = {"LD_PRELOAD": str(clock_library()), "CLOCK_OFFSET_FILE": str(clock)}
    _restart_with(stack, name, environment)
    try:
        yield
    finally:
        _restart_with(stack, name, {})


def _restart_with(stack: Stack, name: str, environment: Mapping[str, str]) -> None:
    servers = stack.servers()
    programs = [
        replace(each.program, env={**each.program.env, **environment}) if each.name == name else each.program
        for each in servers
    ]
    stack.supervisor.update(programs)
    stack.supervisor.start_program(name)
    stack.wait_ready(name, 240)


def clock_library() -> Path:
    """Compile `clock.c` into the cache and return it.

    libfaketime can't be used: it also changes waits, of which Debian 12's fails with Python's and a JVM spins.

    Raises:
        NotPossibleHere: There is no C compiler, or no preloading.
    """
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        raise NotPossibleHere("another clock for one process needs Linux and a C compiler (cc)")
    source = Path(__file__).with_name("clock.c")
    library = cache_folder() / f"clock-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run((compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"), check=True, timeout=60)
        except subprocess.SubprocessError as exc:
            raise NotPossibleHere(f"{source} can't be compiled: {exc}") from exc
    return library
