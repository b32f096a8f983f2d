"""The shop's clock. It shows the machine's time; only the seed turns it back, to make runs of some hours ago."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask_squidmesh.testing import SettableClock

clock = SettableClock()


@contextmanager
def hours_ago(hours: float) -> Iterator[None]:
    """Turn the clock back meanwhile."""
    clock.advance(-hours * 3600)
    try:
        yield
    finally:
        clock.advance(-clock.offset)
