"""The one word for why a run is where it is: the first rule that applies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from . import decisions, deliveries, endings
from .situation import Reason, Situation

__all__ = ["Reason", "Situation", "reason_of"]

_RULES: tuple[Callable[[Situation], Reason | None], ...] = (
    decisions.interrupted,
    decisions.incident,
    endings.compensating,
    endings.compensation_failed,
    endings.finished,
    endings.failed,
    endings.cancelling,
    decisions.paused,
    deliveries.worker_lost,
    deliveries.definition_mismatch,
    deliveries.dispatch_delayed,
    deliveries.running,
    deliveries.waiting_for_retry,
    deliveries.waiting_until,
    deliveries.waiting_for_dependencies,
    deliveries.scheduled,
)


def reason_of(situation: Situation) -> Reason:
    """The reason for the run's state, with the decisions that are open beside it."""
    found = (rule(situation) for rule in _RULES)
    reason = next((each for each in found if each is not None), None) or deliveries.nothing_outstanding(situation)
    others = [row for row in situation.open_decisions if row is not reason.step_run]
    if not others:
        return reason
    named = tuple(f"{row['step']}#{row['visit']}" for row in others)
    return replace(reason, facts=replace(reason.facts, also_open=named))
