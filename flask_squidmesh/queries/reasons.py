"""The one word for why a run is where it is: the first rule that applies to its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from ..definition.spec import end_at
from ..engine.adoption import is_open
from ..engine.approvals import wanted
from ..engine.kept_decisions import EVENT, STANDSTILLS, DecisionKept
from ..engine.transitions import TERMINAL, is_scheduled
from ..engine.waits import every_target, options_of
from ..errors import ErrorRecord
from .inbox import deadline_of, is_overdue
from .reason_facts import (
    BeginsLater,
    Cancelling,
    CannotBegin,
    CompensationFailed,
    CompensationRunning,
    Delay,
    DeliveryError,
    DispatchDelayed,
    Ended,
    Failed,
    HeldBack,
    Interrupted,
    LostClaim,
    NothingQueued,
    NothingToResume,
    Queued,
    ReasonFacts,
    Running,
    StepState,
    Targets,
    UndoFailure,
    WaitingForDependencies,
    WaitingForEvent,
    WaitingForPerson,
    WaitingForRetry,
    WaitingUntil,
    WorkerLost,
)
from .run_record import Row, RunRecord, approvals_in, step_facts
from .step_results import declared_order, step_run_status


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """word: the reason. step_run: the row it is about. steps: the state of all steps, where that is the evidence."""

    word: str
    step: str | None = None
    facts: ReasonFacts
    step_run: Row | None = None
    steps: tuple[StepState, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A run's rows and the time they are judged at. claim_timeout, delayed_after: seconds."""

    record: RunRecord
    now: datetime
    claim_timeout: float
    delayed_after: float

    @property
    def status(self) -> str:
        """The run's."""
        status: str = self.record.run["status"]
        return status

    @property
    def outstanding(self) -> list[tuple[Row, Row]]:
        """Step runs with their dispatches, in the order they were made."""
        dispatches = self.record.dispatches
        return [(row, dispatches[row["id"]]) for row in self.record.step_runs if row["id"] in dispatches]

    @property
    def executing(self) -> list[tuple[Row, Row]]:
        """Those that a worker holds, with claims that have not expired."""
        return [(row, work) for row, work in self.outstanding if work["claim_id"] and work["due_at"] > self.now]

    @property
    def open_decisions(self) -> list[Row]:
        """Step runs that wait for a person, the most urgent first."""
        asked = [row for row in self._open_waits if row["decision"]["kind"] != EVENT]
        return sorted(asked, key=_urgency)

    @property
    def awaiting(self) -> list[Row]:
        """Step runs that wait for an event, in the order they were made."""
        return [row for row in self._open_waits if row["decision"]["kind"] == EVENT]

    @property
    def _open_waits(self) -> list[Row]:
        return [row for row in self.record.step_runs if row["status"] == "paused" and row["decision"]]

    @property
    def urgent_decision(self) -> Row | None:
        """The first of them."""
        return next(iter(self.open_decisions), None)

    def last_visit(self, step: str | None) -> Row | None:
        """The run's last visit to the step."""
        return next((row for row in reversed(self.record.visits) if row["step"] == step), None)


_RANKS: Mapping[str, int] = {kind: rank for rank, kind in enumerate(STANDSTILLS)}


def _urgency(row: Row) -> tuple[int, bool, datetime]:
    due = row["decide_by"]
    return _RANKS.get(row["decision"]["kind"], len(_RANKS)), due is None, due or row["created_at"]


def about(row: Row, word: str, facts: ReasonFacts) -> Reason:
    """A reason that concerns one step run."""
    return Reason(word=word, step=row["step"], facts=facts, step_run=row)


def interrupted(situation: Situation) -> Reason | None:
    """An attempt ended and nobody knows whether its effect happened."""
    row = situation.urgent_decision
    stands_still = situation.status in TERMINAL | {"paused", "cancelling"}
    if row is None or row["decision"]["kind"] != "interrupted" or not stands_still:
        return None
    attempts = situation.record.attempts.get(row["id"], ())
    facts = Interrupted(
        irreversible=bool(row["settings"].get("irreversible")),
        attempts=row["attempts"],
        abandoned=row["abandoned"],
        worker=attempts[-1]["worker"] if attempts else None,
        last_error=row["error"],
    )
    return about(row, "interrupted", facts)


def incident(situation: Situation) -> Reason | None:
    """A step could not begin, because its input cannot be made."""
    row = situation.urgent_decision
    if row is None or row["decision"]["kind"] != "incident" or situation.status != "paused":
        return None
    error: ErrorRecord | None = row["error"]
    details = (error["details"] if error else None) or {}
    facts = CannotBegin(
        irreversible=bool(row["settings"].get("irreversible")),
        attempts=row["attempts"],
        input_errors=details.get("validation_errors"),
        last_error=error,
    )
    return about(row, "incident", facts)


_PAUSED: Final[Mapping[str, str]] = {
    "approval": "paused_for_approval",
    "decision": "paused_for_decision",
    "pause": "paused_for_manual_action",
}


def paused(situation: Situation) -> Reason | None:
    """A pause or an approval is open, or should be."""
    if situation.status != "paused":
        return None
    row = situation.urgent_decision
    if row is None:
        return _undecidable(situation)
    decision, spec = row["decision"], situation.record.spec
    if spec is None:
        facts = replace(_leading(decision), workflow_definition="unavailable")
        return about(row, "paused_with_unavailable_workflow", facts)
    if not {target for target in every_target(decision) if end_at(target) is None} <= spec.steps.keys():
        return about(row, "paused_with_invalid_resume_target", _leading(decision))
    word = _PAUSED[decision["kind"]]
    return about(row, word, _asked(situation, row))


def _undecidable(situation: Situation) -> Reason:
    step = situation.record.run["current_step"]
    return Reason(
        word="paused_with_missing_resume_metadata",
        step=step,
        facts=NothingToResume(),
        step_run=situation.last_visit(step),
    )


def _leading(decision: DecisionKept) -> WaitingForPerson:
    """Where the decision leads; null is the end of the run."""
    if decision["kind"] == "decision":
        leading = {each["name"]: tuple(route["target"] for route in each["routes"]) for each in options_of(decision)}
        return WaitingForPerson(options=leading)
    if decision["kind"] == "approval":
        return WaitingForPerson(approval_targets=Targets(ok=decision.get("ok"), error=decision.get("error")))
    return WaitingForPerson(resume_target=decision.get("ok"))


def _asked(situation: Situation, row: Row) -> WaitingForPerson:
    decision = row["decision"]
    several = wanted(decision) > 1
    return replace(
        _leading(decision),
        prompt=decision.get("prompt"),
        permission=decision.get("permission"),
        approvals=wanted(decision) if several else None,
        given=approvals_in(decision) if several else None,
        not_starter=bool(decision.get("not_starter")) or None,
        not_by=tuple(decision.get("not_by") or ()) or None,
        assignee=decision.get("assignee"),
        groups=tuple(decision.get("groups") or ()) or None,
        decide_by=row["decide_by"],
        timeout=decision.get("timeout"),
        deadline=deadline_of(row, situation.now),
    )


def worker_lost(situation: Situation) -> Reason | None:
    """The worker that holds a step has not renewed its claim."""
    for row, work in situation.outstanding:
        if work["claim_id"] and work["due_at"] <= situation.now:
            lost = _lost(situation, work)
            facts = WorkerLost(
                worker=lost.worker,
                claimed_at=lost.claimed_at,
                claim_expired_at=lost.claim_expired_at,
                claim_timeout=lost.claim_timeout,
            )
            return about(row, "worker_lost", facts)
    return None


def _lost(situation: Situation, work: Row) -> LostClaim:
    return LostClaim(
        worker=work["claimed_by"],
        claimed_at=work["claimed_at"],
        claim_expired_at=work["due_at"],
        claim_timeout=situation.claim_timeout,
    )


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
            delay = _delay(situation, work)
            facts = DispatchDelayed(
                due_at=delay.due_at,
                late_by=delay.late_by,
                queue=delay.queue,
                hand_overs=delay.hand_overs,
                executor_error=delay.executor_error,
            )
            return about(row, "dispatch_delayed", facts)
    return None


def _is_delayed(situation: Situation, work: Row) -> bool:
    late = situation.now - work["due_at"]
    allowed = timedelta(0) if work["hand_over_error"] else timedelta(seconds=situation.delayed_after)
    return not work["claim_id"] and late >= allowed


def _delay(situation: Situation, work: Row) -> Delay:
    return Delay(
        due_at=work["due_at"],
        late_by=(situation.now - work["due_at"]).total_seconds(),
        queue=work["queue"],
        hand_overs=work["hand_overs"],
        executor_error=work["hand_over_error"],
    )


def trouble_of(situation: Situation, row: Row | None) -> DeliveryError:
    """What keeps the step run from going on, if anything does."""
    work = situation.record.dispatches.get(row["id"]) if row else None
    if work is None:
        return DeliveryError()
    if work["held"] is not None:
        return DeliveryError(definition_mismatch=work["held"])
    if work["claim_id"]:
        is_lost = work["due_at"] <= situation.now
        return DeliveryError(worker_lost=_lost(situation, work)) if is_lost else DeliveryError()
    return DeliveryError(dispatch_delayed=_delay(situation, work)) if _is_delayed(situation, work) else DeliveryError()


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


def begins_later(situation: Situation) -> Reason | None:
    """It was started with a time at which it begins."""
    run = situation.record.run
    if not is_scheduled(situation.status, run["open_steps"], run["due_at"]) or situation.record.step_runs:
        return None
    seconds = (run["due_at"] - situation.now).total_seconds()
    held = situation.record.beginning_held
    return Reason(word="scheduled", facts=BeginsLater(begins_at=run["due_at"], seconds=seconds, held=held))


def waiting_for_event(situation: Situation) -> Reason | None:
    """An event has to come from outside, and no other step is to be performed."""
    if not situation.awaiting or situation.outstanding:
        return None
    row = situation.awaiting[0]
    decision: DecisionKept = row["decision"]
    awaits = decision["awaits"]
    facts = WaitingForEvent(
        event=awaits["name"],
        key=awaits["key"],
        since=row["started_at"] or row["created_at"],
        assignee=decision.get("assignee"),
        groups=tuple(decision.get("groups") or ()) or None,
        timeout=decision.get("timeout"),
        decide_by=row["decide_by"],
        deadline=deadline_of(row, situation.now),
        misfit=decision.get("misfit"),
    )
    return about(row, "waiting_for_event", facts)


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


def compensating(situation: Situation) -> Reason | None:
    """Completed steps are being undone."""
    if situation.record.run["compensation"] != "running":
        return None
    rows = situation.record.compensations
    row = next((row for row in rows if row["status"] in ("running", "pending")), None)
    trouble = trouble_of(situation, row)
    facts = CompensationRunning(
        failed_step=situation.record.run["current_step"],
        last_error=situation.record.run["error"],
        compensations=_compensations(situation),
        definition_mismatch=trouble.definition_mismatch,
        worker_lost=trouble.worker_lost,
        dispatch_delayed=trouble.dispatch_delayed,
    )
    return Reason(word="compensating", step=row["step"] if row else None, facts=facts, step_run=row)


def compensation_failed(situation: Situation) -> Reason | None:
    """Some completed steps could not be undone."""
    if situation.record.run["compensation"] != "failed":
        return None
    failed = [row for row in situation.record.compensations if row["status"] == "failed"]
    errors = tuple(UndoFailure(step=row["step"], error=row["error"]) for row in failed)
    facts = CompensationFailed(
        failed_step=situation.record.run["current_step"],
        last_error=situation.record.run["error"],
        compensations=_compensations(situation),
        compensation_failures=errors,
    )
    first = failed[0] if failed else None
    return Reason(word="compensation_failed", step=first["step"] if first else None, facts=facts, step_run=first)


def _compensations(situation: Situation) -> dict[str, str]:
    """The status of each, by step."""
    return {row["step"]: row["status"] for row in situation.record.compensations}


def finished(situation: Situation) -> Reason | None:
    """The run completed or was cancelled."""
    if situation.status not in ("completed", "cancelled"):
        return None
    return Reason(
        word=situation.status, facts=Ended(undone=_undone(situation), outcome=situation.record.run["outcome"])
    )


def _undone(situation: Situation) -> tuple[str, ...] | None:
    return tuple(row["step"] for row in situation.record.compensations if row["status"] == "completed") or None


def failed(situation: Situation) -> Reason | None:
    """The run failed."""
    if situation.status != "failed":
        return None
    run = situation.record.run
    row = situation.last_visit(run["current_step"])
    facts = Failed(last_error=run["error"], undone=_undone(situation))
    if row is not None and _exhausted(row):
        most = row["settings"]["max_attempts"]
        return about(row, "retry_exhausted", replace(facts, max_attempts=most, latest_attempt_number=row["attempts"]))
    return Reason(word="step_failed", step=run["current_step"], facts=facts, step_run=row)


def _exhausted(row: Row) -> bool:
    """Whether the step's retries came to their end, and not a failure that is never retried."""
    most = row["settings"].get("max_attempts", 1)
    return most > 1 and row["attempts"] >= most and (row["error"] or {}).get("retryable") is not False


def cancelling(situation: Situation) -> Reason | None:
    """The run was cancelled and an attempt has still to end."""
    if situation.status != "cancelling":
        return None
    running = [row for row in situation.record.visits if row["status"] == "running"]
    first = running[0] if running else None
    cancelled_at = situation.record.run["cancelled_at"]
    patience = timedelta(seconds=situation.claim_timeout)
    trouble = trouble_of(situation, first)
    facts = Cancelling(
        waiting_on=tuple(row["step"] for row in running),
        cancelled_at=cancelled_at,
        give_up_at=cancelled_at + patience if cancelled_at and running else None,
        definition_mismatch=trouble.definition_mismatch,
        worker_lost=trouble.worker_lost,
        dispatch_delayed=trouble.dispatch_delayed,
    )
    return Reason(word="cancelling", step=first["step"] if first else None, facts=facts, step_run=first)


__all__ = ["Reason", "Situation", "reason_of"]

_RULES: tuple[Callable[[Situation], Reason | None], ...] = (
    interrupted,
    incident,
    compensating,
    compensation_failed,
    finished,
    failed,
    cancelling,
    paused,
    begins_later,
    worker_lost,
    definition_mismatch,
    dispatch_delayed,
    running,
    waiting_for_retry,
    waiting_until,
    waiting_for_event,
    waiting_for_dependencies,
    scheduled,
)


def _timed(situation: Situation, reason: Reason) -> ReasonFacts:
    """The facts with what is to happen to the step by its time: put off, of a wait, or that people are told of it."""
    row = reason.step_run
    if row is not None and isinstance(reason.facts, (WaitingForPerson, WaitingForEvent)):
        return replace(reason.facts, put_off=situation.record.put_off.get(row["id"]))
    visit = step_facts((row,))[0] if row is not None and row["decide_by"] is not None else None
    if row is None or visit is None or not (visit.timed and is_open(visit)):
        return reason.facts
    return replace(reason.facts, finish_by=row["decide_by"], overdue=is_overdue(row["decide_by"], situation.now))


def reason_of(situation: Situation) -> Reason:
    """The reason for the run's state, with the decisions that are open beside it."""
    found = (rule(situation) for rule in _RULES)
    reason = next((each for each in found if each is not None), None) or nothing_outstanding(situation)
    reason = replace(reason, facts=_timed(situation, reason))
    others = [row for row in situation.open_decisions if row is not reason.step_run]
    if not others:
        return reason
    named = tuple(f"{row['step']}#{row['visit']}" for row in others)
    return replace(reason, facts=replace(reason.facts, also_open=named))
