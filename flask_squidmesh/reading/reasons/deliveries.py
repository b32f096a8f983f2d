"""Reasons of runs whose next step is outstanding: with a worker, on its way, or waiting for its time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from ..evidence import StepState
from ..reason_facts import (
    Delay,
    DispatchDelayed,
    HeldBack,
    LostClaim,
    NothingQueued,
    Queued,
    Running,
    Trouble,
    WaitingForDependencies,
    WaitingForRetry,
    WaitingUntil,
    WorkerLost,
)
from ..records import Row
from ..steps import declared_order, step_run_status
from .situation import Reason, Situation, about


def worker_lost(situation: Situation) -> Reason | None:
    """The worker that holds a step has not renewed its claim."""
    for row, work in situation.outstanding:
        if work["claim_id"] and work["due_at"] <= situation.now:
            return about(row, "worker_lost", WorkerLost(**_lost(situation, work)))
    return None


def _lost(situation: Situation, work: Row) -> dict[str, Any]:
    return {
        "worker": work["claimed_by"],
        "claimed_at": work["claimed_at"],
        "claim_expired_at": work["due_at"],
        "claim_timeout": situation.claim_timeout,
    }


def definition_mismatch(situation: Situation) -> Reason | None:
    """A worker put the work back because it does not know the workflow or the step."""
    for row, work in situation.outstanding:
        if work["held"] is not None:
            return about(row, "definition_mismatch", HeldBack(held=work["held"], again_at=work["due_at"]))
    return None


def dispatch_delayed(situation: Situation) -> Reason | None:
    """Work is due and nobody takes it."""
    for row, work in situation.outstanding:
        if _is_delayed(situation, work):
            return about(row, "dispatch_delayed", DispatchDelayed(**_delay(situation, work)))
    return None


def _is_delayed(situation: Situation, work: Row) -> bool:
    late = situation.now - work["due_at"]
    allowed = timedelta(0) if work["hand_over_error"] else timedelta(seconds=situation.delayed_after)
    return not work["claim_id"] and late >= allowed


def _delay(situation: Situation, work: Row) -> dict[str, Any]:
    return {
        "due_at": work["due_at"],
        "late_by": (situation.now - work["due_at"]).total_seconds(),
        "queue": work["queue"],
        "hand_overs": work["hand_overs"],
        "executor_error": work["hand_over_error"],
    }


def trouble_of(situation: Situation, row: Row | None) -> Trouble:
    """What keeps the step run from going on, if anything does."""
    work = situation.record.dispatches.get(row["id"]) if row else None
    if work is None:
        return Trouble()
    if work["held"] is not None:
        return Trouble(definition_mismatch=work["held"])
    if work["claim_id"]:
        is_lost = work["due_at"] <= situation.now
        return Trouble(worker_lost=LostClaim(**_lost(situation, work))) if is_lost else Trouble()
    return Trouble(dispatch_delayed=Delay(**_delay(situation, work))) if _is_delayed(situation, work) else Trouble()


def running(situation: Situation) -> Reason | None:
    """A worker is at a step."""
    if not situation.executing:
        return None
    row, work = situation.executing[0]
    facts = Running(
        attempt_number=row["attempts"],
        worker=work["claimed_by"],
        claim_expires_at=work["due_at"],
        also_running=tuple(other["step"] for other, _ in situation.executing[1:]) or None,
    )
    return about(row, "step_running", facts)


def waiting_for_retry(situation: Situation) -> Reason | None:
    """The last attempt failed and nothing but its repetition is left to do."""
    retried = [(row, work) for row, work in situation.outstanding if row["attempts"] and row["error"]]
    due = {row["step"] for row, work in situation.outstanding if work["due_at"] <= situation.now}
    if not retried or due - {row["step"] for row, _ in retried}:
        return None
    row, work = min(retried, key=lambda each: each[1]["due_at"])
    facts = WaitingForRetry(
        next_attempt_number=row["attempts"] + 1,
        max_attempts=row["settings"].get("max_attempts", 1),
        due_at=work["due_at"],
        last_error=row["error"],
    )
    return about(row, "waiting_for_retry", facts)


def waiting_until(situation: Situation) -> Reason | None:
    """Nothing is to be done before a certain time."""
    waiting = [(work["due_at"], row) for row, work in situation.outstanding if work["due_at"] > situation.now]
    if not waiting or len(waiting) < len(situation.outstanding):
        return None
    until, row = min(waiting, key=lambda each: each[0])
    return about(row, "waiting_until", WaitingUntil(until=until, seconds=(until - situation.now).total_seconds()))


def waiting_for_dependencies(situation: Situation) -> Reason | None:
    """A join that has some of its dependencies; where none has any, the queued steps tell more."""
    spec = situation.record.spec
    if spec is None or spec.style != "dependency":
        return None
    last = {row["step"]: row for row in situation.record.visits}
    statuses = {name: step_run_status(last[name]) if name in last else "missing" for name in spec.steps}
    for name in declared_order(spec):
        waited_for = {parent: statuses[parent] for parent in spec.steps[name].after}
        if statuses[name] in ("waiting", "missing") and "completed" in waited_for.values():
            waiting_on = tuple(parent for parent, status in waited_for.items() if status != "completed")
            facts = WaitingForDependencies(waiting_on=waiting_on, dependency_statuses=waited_for)
            steps = tuple(_states(situation, statuses))
            return Reason(word="waiting_for_dependencies", step=name, facts=facts, step_run=last.get(name), steps=steps)
    return None


def _states(situation: Situation, statuses: Mapping[str, str]) -> Iterator[StepState]:
    spec = situation.record.spec
    for name in declared_order(spec) if spec else ():
        row = situation.last_visit(name)
        after = spec.steps[name].after if spec else ()
        status = "waiting" if statuses[name] == "missing" else statuses[name]
        yield StepState(step=name, status=status, depends_on=after, last_error=row["error"] if row else None)


def scheduled(situation: Situation) -> Reason | None:
    """Work is on its way to a worker."""
    if not situation.outstanding:
        return None
    row, work = situation.outstanding[0]
    if situation.status == "pending":
        return about(row, "pending_dispatch", Queued(due_at=work["due_at"], queue=work["queue"]))
    spec = situation.record.spec
    satisfied = spec.steps[row["step"]].after if spec and row["step"] in spec.steps else ()
    facts = Queued(due_at=work["due_at"], queue=work["queue"], satisfied_dependencies=tuple(satisfied) or None)
    return about(row, "step_scheduled", facts)


def nothing_outstanding(situation: Situation) -> Reason:
    """A run that has not finished and for which nothing is to be delivered: it needs an operator."""
    step = situation.record.run["current_step"]
    row = situation.last_visit(step)
    return Reason(word="dispatch_delayed", step=step, facts=NothingQueued(), step_run=row)
