"""T2: a steady load for a long time, with faults by lot, and whether anything grows without end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from faults.resources import Resources, resources_of
from faults.run import Run
from faults.soak_faults import SOAK_FAULTS

_MOST_GROWTH = 1.15
_SPARE_BYTES = 50 * 1024**2
_MORE_FILES = 50

Sample = Mapping[str, Resources]


def soak(run: Run) -> str:
    """T2: a steady load for a long time, with faults drawn by lot. None of them ends the service: it must answer."""
    until = time.monotonic() + 60 * run.soak_minutes
    names: list[str] = []
    answers = lost = 0
    with run.traffic.flowing(chunk=100, pause_seconds=0.3):
        run.progress(1_000)
        samples = [_settled(run)]
        with run.reading() as asking:
            while time.monotonic() < until:
                run.waits(*((3, 8) if run.quick else (15, 45)))
                name = run.random.choice(sorted(SOAK_FAULTS))
                fault: Callable[[Run], None] = SOAK_FAULTS[name]
                samples.append(resources_of(run.stack))  # all have been there for a while, until the next fault
                run.tell(f"{run.row}: {name}")
                began = time.monotonic()
                fault(run)
                run.recovered(name, began)
                names.append(name)
                found = asking.taken()  # each time: half an hour of answers is too much to keep
                answers, lost = answers + found.answers, lost + found.failed
                run.must(f"{name}: nobody asked", found.answers > 0)
                run.must(f"{name}: {found.failed} of {found.answers} failed ({found.failures})", found.failed == 0)
        samples.append(_settled(run))
    run.note("faults", len(names))
    run.note("answers", answers)
    run.note("answers lost", lost)
    for grown in growth(samples, run.note):
        run.must(grown, False)
    return f"{run.soak_minutes:g} minutes of load with {len(names)} faults: " + ", ".join(
        f"{names.count(name)} × {name}" for name in sorted(set(names))
    )


def growth(samples: Sequence[Sample], note: Callable[[str, str], object]) -> list[str]:
    """Tell what goes on growing: the most that a part held in the last third of the time, beside the second third.

    The first third is left out: a JVM fills the heap that it is given before it collects anything.
    """
    third = len(samples) // 3
    grown = []
    for part in sorted(set.intersection(*(set(each) for each in samples)) if samples else ()):
        first, then, last = (
            (max(each[part].resident_bytes for each in some), max(each[part].files for each in some))
            for some in (samples[: third or 1], samples[third : 2 * third] or samples, samples[2 * third :])
        )
        note(f"{part}: MiB by thirds", ", ".join(str(resident >> 20) for resident, _ in (first, then, last)))
        note(f"{part}: files by thirds", ", ".join(str(files) for _, files in (first, then, last)))
        if last[0] > _MOST_GROWTH * then[0] + _SPARE_BYTES:
            grown.append(f"{part} grew from {then[0] >> 20} to {last[0] >> 20} MiB")
        if last[1] > then[1] + _MORE_FILES:
            grown.append(f"{part} has {last[1]} files open, after {then[1]}")
    return grown


def _settled(run: Run) -> Sample:
    run.waits(5, 6)
    return resources_of(run.stack)
