"""Retry policies: how they are written and how long they wait."""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from .spec import RetryPolicy

_LARGEST_EXPONENT = 1000


@dataclass(frozen=True, slots=True)
class Exponential:
    """A delay that doubles: `first`, twice that, four times that, never over `most`. Seconds or timedeltas."""

    first: float | timedelta
    most: float | timedelta


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same delay before every attempt. Seconds or a timedelta."""

    delay: float | timedelta


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a step is tried.

    max_attempts: in all, the first one counted. backoff: the delay between attempts, none if left out. jitter: a
    fraction from 0 to 1 by which each delay varies at random. on: the exceptions to retry on besides RetryStep, all if
    left out; an irreversible step is retried on none but these.
    """

    max_attempts: int
    backoff: Exponential | Fixed | None = None
    jitter: float = 0.0
    on: type[BaseException] | Sequence[type[BaseException]] = ()


def delay(policy: RetryPolicy, attempt: int, *, random: Callable[[], float] = _random.random) -> float:
    """Seconds to wait after attempt number `attempt` (from 1) failed.

    random: gives a number from 0 to 1 for the jitter.
    """
    if policy.backoff is None:
        return 0.0
    doublings = min(attempt - 1, _LARGEST_EXPONENT)
    seconds = min(policy.backoff.first * 2.0**doublings, policy.backoff.most)
    return seconds * (1 + policy.jitter * (2 * random() - 1))
