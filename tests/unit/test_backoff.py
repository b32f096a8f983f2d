from __future__ import annotations

from datetime import timedelta

from flask_squidmesh.runtime.backoff import doubled


def test_waits_double_up_to_the_longest_however_often_it_was_in_vain() -> None:
    first, longest = timedelta(seconds=10), timedelta(minutes=1)
    assert [doubled(first, times, longest=longest).total_seconds() for times in (0, 1, 2, 3)] == [10, 20, 40, 60]
    assert doubled(0.005, 1_000_000, longest=1.0) == 1.0
