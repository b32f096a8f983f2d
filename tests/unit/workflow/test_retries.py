"""How long a retry waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.definition.elements import delay
from flask_squidmesh.definition.spec import Backoff, RetryPolicy


def policy(first: float, most: float, jitter: float = 0.0) -> RetryPolicy:
    return RetryPolicy(max_attempts=9, backoff=Backoff(first=first, most=most), jitter=jitter)


@pytest.mark.rule("declaring-backoff")
@pytest.mark.parametrize(
    ("first", "most", "delays"),
    [(1, 30, [1, 2, 4, 8, 16, 30, 30]), (2, 2, [2, 2, 2]), (0.5, 3, [0.5, 1, 2, 3]), (5, 7, [5, 7, 7])],
)
def test_delays(first: float, most: float, delays: list[float]) -> None:
    assert [delay(policy(first, most), attempt) for attempt in range(1, len(delays) + 1)] == delays


def test_without_backoff_there_is_no_delay() -> None:
    assert delay(RetryPolicy(max_attempts=3, jitter=1), 1) == 0


@pytest.mark.parametrize(("random", "expected"), [(0.0, 6.0), (0.5, 8.0), (1.0, 10.0)])
def test_jitter_adds_and_takes_its_fraction(random: float, expected: float) -> None:
    assert delay(policy(1, 30, jitter=0.25), 4, random=lambda: random) == expected


@given(attempt=st.integers(1, 10**6), first=st.floats(0.001, 1e6), factor=st.floats(1, 1e6), jitter=st.floats(0, 1))
def test_a_delay_stays_in_its_bounds(attempt: int, first: float, factor: float, jitter: float) -> None:
    most = first * factor
    assert 0 <= delay(policy(first, most, jitter), attempt) <= most * 2
    assert delay(policy(first, most), attempt) <= delay(policy(first, most), attempt + 1) <= most
