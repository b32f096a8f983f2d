"""The shop's clock. It shows the machine's time; seed and smoke turn it, to see what some hours make of a run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask_squidmesh.testing import SettableClock


class ShopClock(SettableClock, threading.local):
    """A clock that shows a turned time only to the thread that turned it: workers at work keep to the machine's."""


clock = ShopClock()


@contextmanager
def hours_ago(hours: float) -> Iterator[None]:
    """Turn the clock back meanwhile."""
    with hours_later(-hours):
        yield


@contextmanager
def hours_later(hours: float) -> Iterator[None]:
    """Turn the clock forward meanwhile."""
    before = clock.offset
    clock.advance(hours * 3600)
    try:
        yield
    finally:
        clock.advance(before - clock.offset)
