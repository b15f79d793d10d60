"""``python -m bench [NAME …] [--quick] [--rounds N] [--output DIR]``."""

from __future__ import annotations

import argparse
import fcntl
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.errors import BenchmarkError
from bench.registry import Benchmark, benchmarks
from bench.workbench import Workbench
from deploy.local import Stack, StackError
from deploy.local.home import CHECKOUT
from reweigh.progress import timed_lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are named, or all; the exit status is 1 when one of them could not be measured."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("terminated"))  # by way of what stops the servers
    output: Path = given.output.resolve()
    every = benchmarks(output)
    unknown = [name for name in given.names if name not in every]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(every)}", file=sys.stderr)
        return 2
    output.mkdir(parents=True, exist_ok=True)
    with (output / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another run writes to {output}: wait for it, or choose another --output", file=sys.stderr)
            return 2
        return _run_all([every[name] for name in given.names or every], output, given)


def _run_all(chosen: Sequence[Benchmark], output: Path, given: argparse.Namespace) -> int:
    failed = []
    for benchmark in chosen:
        try:
            run(benchmark, output, rounds=given.rounds, quick=given.quick, tell=timed_lines())
        except (BenchmarkError, StackError) as exc:
            print(f"\n{benchmark.name}: {exc}\n", file=sys.stderr)
            failed.append(benchmark.name)
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(benchmark: Benchmark, output: Path, *, rounds: int, quick: bool, tell: Callable[[str], None]) -> None:
    """Run one benchmark on a stack of its own, print its table, and write its JSON.

    The stack's data is removed before and after; its logs stay when it fails.

    Raises:
        BenchmarkError: It could not be measured.
        StackError: The stack did not start.
    """
    home = output / "stack"
    began = time.monotonic()
    tell(f"{benchmark.name}: {benchmark.shows}")
    Stack(home, benchmark.parts).down()  # of a run that was killed
    shutil.rmtree(home, ignore_errors=True)
    with Stack(home, benchmark.parts) as stack:
        report = benchmark.measure(Workbench(stack, rounds, quick, tell))
    shutil.rmtree(home, ignore_errors=True)
    seconds = time.monotonic() - began
    file = output / f"{benchmark.name}.json"
    report.write(file, quick=quick, seconds=seconds)
    print(f"\n{report.text()}\n  · took {seconds:.0f} s, {file}\n", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measures what docs/benchmarks.md explains; prints tables and writes JSON."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(benchmarks(Path())) + " (all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: shows that it works, no more")
    parser.add_argument("--rounds", type=_rounds, default=3, help="repetitions of a comparison (3)")
    parser.add_argument(
        "--output", type=Path, default=CHECKOUT / ".local" / "bench", help="folder of the results (.local/bench)"
    )
    return parser


def _rounds(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number of at least 1 is allowed")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
