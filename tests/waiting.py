"""Waiting for something that another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], timeout: float = 120) -> T:
    """Ask again and again until the condition holds, and return what it answered.

    :param condition: Called without arguments; holds when its answer is true.
    :param timeout: How long to ask, in seconds.
    :raises AssertionError: It did not hold in time.
    """
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not so within {timeout} s, last answer {answer!r}: {condition}"
        time.sleep(0.02)
    return answer
