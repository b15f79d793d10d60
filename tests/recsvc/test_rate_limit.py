"""The rule of the rate limits, and their bounded memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsvc.admission import caller_address
from recsvc.rate_limit import Limiter, Rate


@pytest.mark.parametrize("text", ["1/second", "100/minute", "5000/hour"])
def test_rates_are_written_as_they_are_read(text: str) -> None:
    """Number and unit."""
    assert str(Rate.parse(text)) == text


@pytest.mark.parametrize("text", ["0/second", "10", "10/day", "-1/hour", "1.5/second", "10/seconds", "10000000/hour"])
def test_other_texts_are_no_rates(text: str) -> None:
    """The message says what is allowed."""
    with pytest.raises(ValueError, match="N/second"):
        Rate.parse(text)


@given(
    requests=st.integers(1, 50),
    seconds=st.sampled_from([1, 60, 3_600]),
    pauses=st.lists(st.integers(0, 200_000_000_000), max_size=60),
    start=st.integers(0, 10**17),
)
def test_no_more_than_the_rate_and_the_promised_wait_is_enough(
    requests: int, seconds: int, pauses: list[int], start: int
) -> None:
    """Within any ``seconds`` at most twice the requests come through, at once the requests; a told wait suffices."""
    clock = [start]
    limiter = Limiter(Rate(requests, seconds), now_ns=lambda: clock[0])
    taken: list[int] = []
    for pause in [0] * (requests + 1) + pauses:
        clock[0] += pause
        wait = limiter.take("a")
        if not wait:
            taken.append(clock[0])
            continue
        clock[0] += math.ceil(wait * 1e9) + 1
        assert limiter.take("a") == 0.0
        taken.append(clock[0])
    assert len([each for each in taken if each == start]) == requests
    for first in taken:
        assert len([each for each in taken if first <= each < first + seconds * 10**9]) <= 2 * requests


def test_callers_are_limited_each_on_its_own() -> None:
    """One that has used up its limit stops no other, and looking counts nothing."""
    limiter = Limiter(Rate(2, 60), now_ns=lambda: 5_000_000_000)
    assert [limiter.take("a") for _ in range(3)] == [0.0, 0.0, pytest.approx(30)]
    assert limiter.wait("a") == pytest.approx(30)
    assert [limiter.wait("b") for _ in range(5)] == [0.0] * 5
    assert limiter.take("b") == 0.0


def test_memory_does_not_grow_with_the_number_of_callers() -> None:
    """The callers that asked last are remembered, and no more than so many."""
    limiter = Limiter(Rate(1, 60), now_ns=lambda: 5_000_000_000, most=100)
    for number in range(5_000):
        limiter.take(f"caller {number}")
    assert len(limiter) == 100
    assert limiter.take("caller 4999") > 0
    assert limiter.take("caller 0") == 0.0


@pytest.mark.parametrize(
    ("remote", "stands_for_it"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("", "unknown"),
        (None, "unknown"),
        ("x" * 10_000, "unknown"),
    ],
)
def test_what_stands_for_a_caller(remote: str | None, stands_for_it: str) -> None:
    """A subscriber has 64 bits of IPv6 addresses, so they count as one; whatever is no address counts as one too."""
    assert caller_address(remote) == stands_for_it
