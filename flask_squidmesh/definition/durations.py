"""Lengths of time as authors write them: a timedelta, or a number of seconds."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeGuard

from ..errors import LONGEST_DELAY as LONGEST


def read_duration(value: object) -> timedelta | None:
    """A timedelta, or seconds, of more than nothing and at most a hundred years; None for anything else."""
    if isinstance(value, timedelta):
        found = value
    elif not is_number(value) or abs(value) > LONGEST.total_seconds():
        return None
    else:
        found = timedelta(seconds=value)
    return found if timedelta(0) < found <= LONGEST else None


def is_number(value: object) -> TypeGuard[float]:
    """Whether the value is a finite number; True and False are none."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
