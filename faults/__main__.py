"""``python -m faults [ROW …] [--seed N] [--quick] [--soak-minutes N] [--output DIR]``.

Exit status: 0 when every row holds, 1 when one does not or is late, 2 for wrong arguments, 3 when all that could be
judged holds but this machine lacks what some row needs.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.report import Report, machine
from deploy.local import StackError
from deploy.local.home import CHECKOUT
from faults.errors import NotPossibleHere
from faults.ground import Grounds
from faults.registry import Row, rows
from faults.runner import Outcome, Wanted, carry_out
from reweigh.progress import timed_lines

SOAK_MINUTES = 30.0
QUICK_SOAK_MINUTES = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows that are named, or all, and give the exit status."""
    given = _parser().parse_args(arguments)
    every = rows()
    unknown = [name for name in given.rows if name not in every]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(every)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("terminated"))  # by way of what stops the servers
    output: Path = given.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    with (output / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another run writes to {output}: wait for it, or choose another --output", file=sys.stderr)
            return 2
        soak = given.soak_minutes or (QUICK_SOAK_MINUTES if given.quick else SOAK_MINUTES)
        wanted = Wanted(given.seed, given.quick, soak)
        outcomes: list[Outcome] = []
        try:
            _run_all([every[name] for name in given.rows or every], output, wanted, outcomes)
        finally:
            if outcomes:
                _report(outcomes, output, wanted)
    return _exit_status(outcomes)


def _exit_status(outcomes: Sequence[Outcome]) -> int:
    """A row that could not be judged is no success: who only looks at the status must not take it for one."""
    if any(each.broken or each.late for each in outcomes):
        return 1
    return 3 if any(each.not_possible for each in outcomes) else 0


def _run_all(chosen: Sequence[Row], output: Path, wanted: Wanted, outcomes: list[Outcome]) -> None:
    tell = timed_lines()
    with Grounds(output, wanted.seed, tell) as grounds:
        for row in chosen:
            tell(f"{row.name}: {row.fault}")
            try:
                ground = grounds.ground_for(row)
            except NotPossibleHere as exc:
                outcomes.append(Outcome(row.name, row.fault, row.must_hold, not_possible=str(exc)))
                continue
            except StackError as exc:
                outcomes.append(Outcome(row.name, row.fault, row.must_hold, broken=[f"the stack did not start: {exc}"]))
                grounds.leave(f"log-{row.name}")
                continue
            outcome = carry_out(row, ground, wanted, tell)
            outcomes.append(outcome)
            if outcome.broken:
                grounds.leave(f"log-{row.name}")


def _report(outcomes: Sequence[Outcome], output: Path, wanted: Wanted) -> None:
    """Print the matrix, what was measured, and what does not hold; write all of it as JSON."""
    table = Report(
        f"The fault matrix, seed {wanted.seed}{', the short forms' if wanted.quick else ''}",
        ("row", "fault", "what was done", "events", "users", "differences", "recovery s", ""),
        tuple(
            (
                each.row, each.fault, each.done or each.not_possible, each.events, each.users, each.differences,
                each.recovery_seconds, each.verdict,
            )
            for each in outcomes
        ),
        ("events and users are those that the ledger held when the whole of Redis was compared with it",),
    )  # fmt: skip
    print(f"\n{table.text()}\n")
    for each in outcomes:
        measures = "; ".join(f"{name} {value}" for name, value in each.measured.items())
        if measures:
            print(f"  {each.row}: {measures}")
    for each in outcomes:
        for broken in (*each.broken, *each.late):
            print(f"  {each.row} does not hold: {broken}")
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "seed": wanted.seed,
        "quick": wanted.quick,
        "rows": [{**asdict(each), "verdict": each.verdict} for each in outcomes],
    }
    file = output / "faults.json"
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    print(f"\n  {file}")
    missing = [f"{each.row} ({each.not_possible})" for each in outcomes if each.not_possible]
    if missing:
        print(f"\n  not judged, since it is not possible here: {'; '.join(missing)}")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description="Breaks what docs/reliability.md names, and compares the whole of Redis.",
        epilog="Exit status: 0 every row holds; 1 a row does not hold or is late; 2 wrong arguments; "
        "3 nothing is broken or late, but some row is not possible on this machine.",
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(rows()) + " (all)")
    parser.add_argument("--seed", type=int, default=1, help="what is drawn by lot follows from it (1)")
    parser.add_argument("--quick", action="store_true", help="the short form of each row")
    parser.add_argument("--soak-minutes", type=float, default=0, help=f"how long T2 lasts ({SOAK_MINUTES:g})")
    parser.add_argument(
        "--output", type=Path, default=CHECKOUT / ".local" / "faults", help="folder of the results (.local/faults)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
