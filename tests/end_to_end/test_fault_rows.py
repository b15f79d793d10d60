"""Some rows of the fault matrix in their short form; `make faults` runs all of them, and judges times too.

They come first: one of them empties Redis and has everything counted anew.
"""

from __future__ import annotations

import pytest

from deploy.local import Stack
from faults.ground import Ground
from faults.registry import rows
from faults.run import client_of
from faults.runner import Wanted, carry_out
from faults.traffic import Traffic

pytestmark = pytest.mark.timeout(1_200)


@pytest.mark.parametrize("name", ["S1", "K3", "K5", "R1", "Z6"])
def test_the_row_holds(whole: Stack, traffic: Traffic, name: str) -> None:
    """Something is broken while events flow; at rest the whole of Redis equals the recount."""
    with client_of(whole.addresses.redis_url) as client:
        ground = Ground(whole, traffic, client)
        outcome = carry_out(rows()[name], ground, Wanted(seed=2024, quick=True, soak_minutes=0), print)
    assert not outcome.broken
    assert outcome.differences == 0
    assert outcome.events > 0
