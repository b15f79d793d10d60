"""What `reweigh verify` prints: the sums, what was compared, and the first differences with the events behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from reweigh.verify.compare import Difference
from reweigh.verify.run import Outcome

_READ, _DEAD = "read:", "dead:"


@dataclass(frozen=True, slots=True)
class Sums:
    """Records in = applied + duplicates + dead letters, as the recount has them."""

    read: int
    applied: int
    dead: int

    @property
    def duplicates(self) -> int:
        """Records whose event had been counted before."""
        return self.read - self.applied - self.dead


def sums(outcome: Outcome) -> Sums:
    """Add up an outcome. An event is applied once, so not by the totals: these have each content that may count."""

    def total(prefix: str) -> int:
        return sum(count for name, count in outcome.totals.items() if name.startswith(prefix))

    return Sums(total(_READ), outcome.events, total(_DEAD))


def is_right(outcome: Outcome) -> bool:
    """Whether nothing differs."""
    return not outcome.comparison.differences


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """Give the outcome for JSON."""
    added_up, arrival = sums(outcome), outcome.arrival
    return {
        "differences": [asdict(each) for each in outcome.comparison.differences],
        "left_to_arrival": [asdict(each) for each in outcome.comparison.open],
        "records": {**asdict(added_up), "duplicates": added_up.duplicates},
        "totals": dict(outcome.totals),
        "users": outcome.comparison.users,
        "fields": outcome.comparison.fields,
        "ids_with_different_contents": arrival.contested.count,
        "ids_repeated_beyond_the_window": arrival.beyond_window.count,
        "events_with_tags_of_a_changed_catalogue": arrival.any_tags.count,
        "first_ids_with_different_contents": arrival.contested.first,
        "first_ids_repeated_beyond_the_window": arrival.beyond_window.first,
        "first_events_with_tags_of_a_changed_catalogue": [place for (place,) in arrival.any_tags.first],
        "moving": outcome.moving,
        "weights_version": outcome.weights_version,
        "seconds": round(outcome.seconds, 1),
    }


def lines(outcome: Outcome) -> Iterator[str]:
    """Give the outcome for people."""
    added_up, compared = sums(outcome), outcome.comparison
    yield (
        f"{added_up.read:,} records in = {added_up.applied:,} applied + {added_up.duplicates:,} duplicates "
        f"+ {added_up.dead:,} dead letters"
    )
    for name, count in sorted(outcome.totals.items()):
        if name.startswith(_DEAD):
            yield f"  dead letters, {name.removeprefix(_DEAD)}: {count:,}"
    yield (
        f"{compared.fields:,} fields of {compared.users:,} users and of the statistics compared, weights version "
        f"{outcome.weights_version}, in {outcome.seconds:.1f} s"
    )
    if outcome.moving:
        yield "events went on arriving: what they touch was compared with the least and the most that it may be"
    for cases, what in (
        (outcome.arrival.contested, "ids were used with different contents"),
        (outcome.arrival.beyond_window, "ids were repeated beyond the window in which repeats are known"),
        (outcome.arrival.any_tags, "events came before the catalogue's tags of now, or in their first second"),
    ):
        if cases.count:
            yield f"left to arrival: {cases.count:,} {what}, the first of them:"
            yield from (f"  {', '.join(places)}" for places in cases.first)
    if compared.open:
        yield f"  {len(compared.open)} fields differ within what that leaves open, the first of them:"
        yield from (f"    {_line(each)}" for each in compared.open[:5])
    if compared.differences:
        yield f"{len(compared.differences)} or more differences, the first of each kind:"
        yield from (f"  {_line(each)}" for each in compared.differences)
    else:
        yield "0 differences"


def _line(found: Difference) -> str:
    field = f" {found.field!r}" if found.field else ""
    events = f"; events: {', '.join(found.events)}" if found.events else ""
    return f"{found.what} of {found.key!r}{field}: {found.stored} is stored, {found.wanted} is right{events}"
