"""Retry policies as their author wrote them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from ..retries import Exponential, Fixed, Retry
from ..spec import Backoff, RetryPolicy


def read_retry(retry: Any, place: str, problems: list[str]) -> RetryPolicy:
    """The checked policy; one attempt where none was given. `place` is what each problem begins with."""
    if retry is None:
        return RetryPolicy()
    if not isinstance(retry, Retry):
        problems.append(f"{place}={retry!r} must be a Retry; write retry=Retry(5, backoff=Exponential(1, 30))")
        return RetryPolicy()
    return RetryPolicy(
        max_attempts=_attempts(retry.max_attempts, place, problems),
        backoff=_backoff(retry.backoff, place, problems),
        jitter=_jitter(retry.jitter, place, problems),
        on=_exceptions(retry.on, place, problems),
    )


def _attempts(value: Any, place: str, problems: list[str]) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    problems.append(f"{place}: the number of attempts must be a positive whole number, found {value!r}; write Retry(5)")
    return 1


def _backoff(backoff: Any, place: str, problems: list[str]) -> Backoff | None:
    if backoff is None:
        return None
    if not isinstance(backoff, (Exponential, Fixed)):
        problems.append(f"{place}: backoff={backoff!r} is unknown; write Exponential(1, 30) or Fixed(2)")
        return None
    first = _seconds(backoff.delay if isinstance(backoff, Fixed) else backoff.first)
    most = first if isinstance(backoff, Fixed) else _seconds(backoff.most)
    if first is None or most is None or not 0 < first <= most:
        problems.append(
            f"{place}: {backoff!r} must have delays over 0 seconds, the first not over the most; "
            "write Exponential(1, 30) or Fixed(2)"
        )
        return None
    return Backoff(first=first, most=most)


def _jitter(value: Any, place: str, problems: list[str]) -> float:
    seconds = _seconds(value)
    if seconds is not None and not isinstance(value, timedelta) and 0 <= seconds <= 1:
        return seconds
    problems.append(f"{place}: jitter={value!r} must be a fraction from 0 to 1; write jitter=0.2")
    return 0.0


def _exceptions(value: Any, place: str, problems: list[str]) -> tuple[type[BaseException], ...]:
    classes = tuple(value) if isinstance(value, (tuple, list, set, frozenset)) else (value,)
    if all(isinstance(each, type) and issubclass(each, BaseException) for each in classes):
        return classes
    problems.append(f"{place}: on={value!r} must be exception classes; write on=(GatewayBusy,)")
    return ()


def _seconds(value: Any) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None
