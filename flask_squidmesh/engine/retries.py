"""What follows a failed attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..workflow.retries import delay
from .facts import Failure, StepFact


@dataclass(frozen=True, slots=True)
class Verdict:
    """retry: again after `delay` seconds. give_up: the failure is final. interrupt: a person has to look, because
    the step's effect cannot be undone and nobody knows whether it happened."""

    kind: Literal["retry", "give_up", "interrupt"]
    delay: float = 0.0


def verdict(visit: StepFact, failure: Failure) -> Verdict:
    """Judge a failed attempt by the policy that was stored with the visit."""
    uncertain = visit.irreversible and not failure.certain
    if uncertain:
        return Verdict("interrupt")
    if failure.final or (visit.irreversible and not failure.asked):
        return Verdict("give_up")
    if visit.attempts >= visit.retry.max_attempts:
        return Verdict("give_up")
    seconds = failure.after if failure.after is not None else delay(visit.retry, visit.attempts)
    return Verdict("retry", seconds)
