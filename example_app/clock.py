"""The shop's clock. It shows the machine's time; seed and smoke turn it, to see what some hours make of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask_squidmesh.testing import SettableClock

clock = SettableClock()


@contextmanager
def hours_ago(hours: float) -> Iterator[None]:
    """Turn the clock back meanwhile."""
    with hours_later(-hours):
        yield


@contextmanager
def hours_later(hours: float) -> Iterator[None]:
    """Turn the clock forward meanwhile."""
    clock.advance(hours * 3600)
    try:
        yield
    finally:
        clock.advance(-clock.offset)
