"""How long to wait before something that was in vain is tried again."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeVar

MOST_DOUBLINGS: Final = 10

_Wait = TypeVar("_Wait", float, timedelta)


def doubled(first: _Wait, times: int, *, longest: _Wait) -> _Wait:
    """The first wait, doubled so many times, and never longer than the longest."""
    return min(first * (1 << min(times, MOST_DOUBLINGS)), longest)
