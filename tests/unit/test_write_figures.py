"""The buckets in which the job notes how its writing goes."""

from __future__ import annotations

import numpy as np
import pytest

from flink_jobs.counted_ages import counted_ages
from reccore.write_figures import EVENT_SECONDS, LIVE_SECONDS, Buckets, WriteFigures, decode_figures


def test_a_value_on_an_edge_is_at_most_that() -> None:
    """As Prometheus counts: ``le`` means less or equal."""
    buckets = Buckets((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        buckets.add(value)
    assert buckets.cumulative() == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]
    assert buckets.total == 12.0


def test_ages_of_a_batch_are_counted_as_single_values_are() -> None:
    """In numpy as one by one; what is no longer live is left out, what comes from the future is 0 s old."""
    now, rng = 1_700_000_000.0, np.random.default_rng(1)
    times = (1000 * (now - np.concatenate([10 ** rng.uniform(-2, 5, 300), [0.0, -5.0, 0.05, 1.0]]))).astype(np.int64)
    one_by_one = Buckets(EVENT_SECONDS)
    for time_ms in times.tolist():
        age = max(0.0, now - time_ms / 1000)
        if age <= LIVE_SECONDS:
            one_by_one.add(age)
    counts, total = counted_ages(times, now)
    assert counts == one_by_one.counts
    assert total == pytest.approx(one_by_one.total)
    assert counted_ages(np.array([], dtype=np.int64), now) == ([0] * (len(EVENT_SECONDS) + 1), 0.0)


def test_figures_are_read_as_they_were_written() -> None:
    """Also by a service that knows other edges: these are written with them."""
    figures = WriteFigures(event_seconds=Buckets((7.0,), [3, 4], 99.5))
    figures.write_rows.add(500)
    assert decode_figures(figures.encode()) == figures


@pytest.mark.parametrize("text", ["", "[]", '{"other": [[1], [0, 0], 0]}', '{"event_seconds": [[1], [0], 0]}', "{}x"])
def test_what_is_no_figures_is_refused(text: str) -> None:
    """It is named, and nothing is made of it."""
    with pytest.raises(ValueError, match=r".+"):
        decode_figures(text)
