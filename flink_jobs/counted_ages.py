"""The ages of a batch of events, in buckets; in numpy, since this runs for every row."""

from __future__ import annotations

from typing import Any

import numpy as np

from reccore.write_figures import EVENT_SECONDS, LIVE_SECONDS


def counted_ages(events_ms: Any, now: float) -> tuple[list[int], float]:
    """Count the ages of events of these times (epoch ms, int64) at ``now`` (epoch s) by bucket, and add them up.

    An event from the future of this clock is 0 s old; one that isn't live any more is left out.
    """
    ages = np.maximum(now - events_ms / 1000, 0.0)
    ages = ages[ages <= LIVE_SECONDS]
    counts = np.bincount(np.searchsorted(EVENT_SECONDS, ages), minlength=len(EVENT_SECONDS) + 1)
    return counts.tolist(), float(ages.sum())
