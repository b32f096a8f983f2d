"""Retry policies as their author wrote them."""

from __future__ import annotations

from typing import Any

from ..retries import Exponential, Fixed, Retry
from ..spec import Backoff, RetryPolicy
from .durations import is_number, read_duration


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
    first = read_duration(backoff.delay if isinstance(backoff, Fixed) else backoff.first)
    most = first if isinstance(backoff, Fixed) else read_duration(backoff.most)
    if first is None or most is None or first > most:
        problems.append(
            f"{place}: {backoff!r} must have delays over 0 seconds, at most 100 years, the first not over the most; "
            "write Exponential(1, 30) or Fixed(2)"
        )
        return None
    return Backoff(first=first.total_seconds(), most=most.total_seconds())


def _jitter(value: Any, place: str, problems: list[str]) -> float:
    if is_number(value) and 0 <= value <= 1:
        return float(value)
    problems.append(f"{place}: jitter={value!r} must be a fraction from 0 to 1; write jitter=0.2")
    return 0.0


def _exceptions(value: Any, place: str, problems: list[str]) -> tuple[type[BaseException], ...]:
    classes = tuple(value) if isinstance(value, (tuple, list, set, frozenset)) else (value,)
    if all(isinstance(each, type) and issubclass(each, BaseException) for each in classes):
        return classes
    problems.append(f"{place}: on={value!r} must be exception classes; write on=(GatewayBusy,)")
    return ()
