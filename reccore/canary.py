"""The user, product and tag of the canary, whose events measure how fresh answers are (``reweigh canary``).

They are counted as any other, and take no part in what is recommended, learned or told of everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CANARY: Final = "reweigh-canary"
SEEN: Final = "seen"
LATE: Final = "late"
REFUSED: Final = "refused"
OUTCOMES: Final = (SEEN, LATE, REFUSED)
"""What becomes of an event: it is in an answer, it was given up, it was not acknowledged."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of one event, seconds after it was sent (as long as it was waited for), and when (epoch ms)."""

    outcome: str
    seconds: float
    at_ms: int

    def as_fields(self) -> dict[str, str | float | int]:
        """Give the fields of ``canary:outcome``."""
        return {"outcome": self.outcome, "seconds": round(self.seconds, 4), "at_ms": self.at_ms}


def measured_of(fields: Mapping[str, str]) -> Measured | None:
    """Read these fields, None without any. Raises ``ValueError``."""
    if not fields:
        return None
    try:
        measured = Measured(fields["outcome"], float(fields["seconds"]), int(fields["at_ms"]))
    except KeyError as exc:
        raise ValueError(f"{exc} is missing") from exc
    if measured.outcome not in OUTCOMES:
        raise ValueError(f"{measured.outcome!r} is none of {', '.join(OUTCOMES)}")
    return measured
