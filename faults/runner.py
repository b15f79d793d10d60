"""Carries out one row and compares the whole of Redis afterwards."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from faults.at_rest import Differs, compare_after_recovery
from faults.errors import NotPossibleHere
from faults.ground import Ground
from faults.registry import Row
from faults.run import Measure, Run


@dataclass
class Outcome:
    """What came of a row. ``differences`` is None when nothing could be compared."""

    row: str
    fault: str
    must_hold: str
    done: str = ""
    events: int = 0
    users: int = 0
    differences: int | None = None
    recovery_seconds: float | None = None
    seconds: float = 0.0
    not_possible: str = ""
    broken: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    measured: dict[str, Measure] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """One word or two for the table."""
        return (
            "not possible here"
            if self.not_possible
            else "does not hold"
            if self.broken
            else "late"
            if self.late
            else "holds"
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """How rows are to be run."""

    seed: int
    quick: bool
    soak_minutes: float


def carry_out(row: Row, ground: Ground, wanted: Wanted, tell: Callable[[str], None]) -> Outcome:
    """Carry out a row and compare; whatever goes wrong is in the outcome, and the next row can follow."""
    outcome = Outcome(row.name, row.fault, row.must_hold)
    began = time.monotonic()
    ledger = ground.traffic.ledger
    run = Run(
        row=row.name,
        stack=ground.stack,
        traffic=ground.traffic,
        redis=ground.redis,
        seed=wanted.seed,
        quick=wanted.quick,
        soak_minutes=wanted.soak_minutes,
        tell=tell,
    )
    try:
        outcome.done = row.carry_out(run)
        compare_after_recovery(ground.stack, ground.redis, ledger)
        outcome.differences = 0
    except NotPossibleHere as exc:
        outcome.not_possible = str(exc)
    except Differs as exc:
        outcome.differences = len(exc.differences)
        run.broken.append(str(exc))
    except Exception as exc:  # noqa: BLE001  the row has failed, whatever it was; the others are to be run
        run.broken.append(f"{type(exc).__name__}: {exc}")
        tell(traceback.format_exc())
    outcome.events, outcome.users = ledger.records, len(ledger.users)
    outcome.recovery_seconds = round(max(run.recoveries), 1) if run.recoveries else None
    outcome.broken, outcome.late, outcome.measured = run.broken, run.late, run.measured
    outcome.seconds = round(time.monotonic() - began, 1)
    tell(f"{row.name}: {outcome.verdict}, {outcome.differences} differences, {outcome.seconds:.0f} s")
    return outcome
