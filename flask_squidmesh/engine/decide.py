"""How a run moves on: from one step run that ended, or from what a person said, to the rows that follow from it.

A `Progress` is made for one transaction, from facts read under the run's lock; it collects `changes` and does nothing
else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from ..definition.elements import delay
from ..definition.spec import ErrorRoute
from .adoption import Adopting
from .approvals import given, wanted, with_approval
from .facts import Decider, Failure, Performed, StepFact, brief, error
from .successors import in_order
from .transitions import STOPPING, TERMINAL


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """retry: again after `delay` seconds. give_up: the failure is final. interrupt: a person has to look, because
    the step's effect cannot be undone and nobody knows whether it happened."""

    kind: Literal["retry", "give_up", "interrupt"]
    delay: float = 0.0


def verdict(visit: StepFact, failure: Failure) -> RetryDecision:
    """Judge a failed attempt by the policy that was stored with the visit."""
    uncertain = visit.irreversible and not failure.certain
    if uncertain:
        return RetryDecision("interrupt")
    if failure.final or (visit.irreversible and not failure.asked):
        return RetryDecision("give_up")
    if visit.attempts >= visit.retry.max_attempts:
        return RetryDecision("give_up")
    seconds = failure.after if failure.after is not None else delay(visit.retry, visit.attempts)
    return RetryDecision("retry", seconds)


class Progress(Adopting):
    """One decision about one run: what an attempt came to, or what a person said.

    leaves: why this process must not decide what follows from a visit that ends; None where it may. The visit is
    closed then, what follows is due, and a process that knows the definition which the run follows is to `follow` it.
    """

    leaves: str | None = None

    def follow(self, visit: StepFact, reason: Mapping[str, Any] | None) -> None:
        """Decide what follows from a visit that ended in a process that might not. reason: the error, if it failed."""
        self.changes.ended.append(visit.id)
        self.changes.update(visit.id, due_at=None)
        stopping = self.status in STOPPING
        if visit.status == "failed":
            if not stopping:
                self._follow_failure(visit, reason or {})
        elif (visit.decision or {}).get("answered") and not stopping:
            self._follow_decision(visit)
        else:
            self._advance(visit)
        self._settle()

    def complete(self, visit: StepFact, output: Mapping[str, Any], performed: Performed) -> None:
        """The attempt succeeded with an output that is already under its key."""
        self._end_attempt(visit, performed, "completed")
        self._close(visit, "completed", output=dict(output), input=performed.input, error=None)
        self._leave(visit)
        if visit.kind == "compensation":
            self._next_compensation(visit, failed=False)
            return
        if self.run.error and self.status not in TERMINAL:
            self.changes.run["error"] = None
        self._record_output(visit)
        self._advance(visit)

    def fail(self, visit: StepFact, failure: Failure, performed: Performed) -> None:
        """The attempt failed."""
        self._end_attempt(visit, performed, "failed", failure.error)
        judged, kept = verdict(visit, failure), brief(failure.error, performed.number)
        if judged.kind == "interrupt":
            self._interrupt(visit, kept, performed.input)
        elif judged.kind == "retry" and (visit.kind == "compensation" or self.status not in STOPPING):
            self._retry(visit, kept, judged.delay, performed.input)
        else:
            self._give_up(visit, kept, performed.input, in_full=failure.error)
        self._settle()

    def block(self, visit: StepFact, reason: Mapping[str, Any]) -> None:
        """The claimed step did not begin, because its input cannot be made: no attempt was made and nothing happened.

        A person has to look, unless the run stops anyway, or the step is for a process of another version to perform.
        A compensation is one that failed.
        """
        begun = visit.attempts - 1
        self.changes.update(visit.id, attempts=begun, **({} if begun else {"started_at": None}))
        if self.spec.style == "flow" and visit.kind == "step" and self.status not in TERMINAL:
            self.changes.run["attempt"] = begun
        self._audit("incident", visit, metadata={"error": _said(reason)})
        if visit.kind == "compensation":
            self._give_up(visit, reason, None)
        elif self.status in STOPPING:
            self._close(visit, "cancelled", error=reason)
            self._leave(visit)
        elif self.leaves:
            self._move_step(visit, "pending")
            self.changes.released[visit.id] = self.now
        else:
            self._wait_for_a_person(visit, "incident", reason)
        self._settle()

    def abandon(self, visit: StepFact, performed: Performed, *, most: int) -> bool:
        """The claim was lost. Answer whether the step may be attempted again.

        most: abandoned attempts in a row after which a person has to look.
        """
        lost = error("WorkerLost", f"The claim of worker {performed.worker} was not renewed in time.", retryable=True)
        self._end_attempt(visit, performed, "abandoned", lost)
        self.changes.update(visit.id, abandoned=visit.abandoned + 1)
        self._audit("abandoned", visit, metadata={"attempt": visit.attempts, "worker": performed.worker})
        if visit.irreversible:
            self._interrupt(visit, lost, None)
        elif visit.kind == "step" and self.status in STOPPING:
            self._close(visit, "cancelled", error=lost)
            self._leave(visit)
        elif visit.abandoned + 1 >= most and visit.kind == "compensation":
            self._give_up(visit, lost, None)
        elif visit.abandoned + 1 >= most:
            self._interrupt(visit, lost, None)
        else:
            return True
        self._settle()
        return False

    def decide(self, visit: StepFact, event: str, decider: Decider) -> None:
        """An operator approved, rejected or resumed the manual step."""
        decision = visit.decision or {}
        self._answer(visit, event, decider)
        if event == "rejected" and self.spec.style == "dependency":
            reason = error("Rejected", decider.comment or f"Step {visit.step} was rejected.", code="rejected")
            self._give_up(visit, reason, None, was_open=False)
            self._settle()
            return
        self._close(visit, "completed", output=decision_output(event, decision, decider, self.now), error=None)
        self._record_output(visit)
        answered = visit._replace(decision={**decision, "answered": event})
        if self.leaves:
            self.changes.update(visit.id, decision=answered.decision)
            self._leave_to_others(visit)
        else:
            self._follow_decision(answered)
        self._settle()

    def _follow_decision(self, visit: StepFact) -> None:
        decision = visit.decision or {}
        target = decision.get("error" if decision.get("answered") == "rejected" else "ok")
        if self.spec.style == "dependency":
            self._release_dependents(visit.step)
        elif target is None:
            self._finish()
        else:
            self._go_to(target)

    def approve_in_part(self, visit: StepFact, decider: Decider) -> None:
        """An operator approved, and others have to approve too."""
        self.changes.update(visit.id, decision=with_approval(visit.decision or {}, decider, self.now))
        said = {"actor": decider.actor, "comment": decider.comment, "metadata": decider.metadata}
        self._audit("approved", visit, **said)
        self.changes.notice("manual_action_taken", action="approved", step=visit.step, visit=visit.visit, **said)

    def resolve(self, visit: StepFact, output: Mapping[str, Any], decider: Decider) -> None:
        """An operator says that a step that was interrupted, or did not begin, took effect, with this output."""
        self._answer(visit, "resolved", decider)
        self._close(visit, "completed", output=dict(output), error=None)
        if self.status not in TERMINAL:
            self.changes.run["error"] = None
        self._record_output(visit)
        self._advance(visit)

    def give_up(self, visit: StepFact, reason: Mapping[str, Any], decider: Decider) -> None:
        """An operator says that a step that was interrupted, or did not begin, has failed."""
        self._answer(visit, "failed", decider)
        self._give_up(visit, reason, None, was_open=False)
        self._settle()

    def give_up_hanging(
        self, visit: StepFact, reason: Mapping[str, Any], decider: Decider, performed: Performed
    ) -> None:
        """An operator waits no longer for the executing attempt: its claim is gone, and what it says is dropped.

        Nobody knows what it did or will do, so a step that cannot be undone is interrupted.
        """
        said = {"actor": decider.actor, "comment": decider.comment, "metadata": decider.metadata}
        self._audit("given_up", visit, **said)
        self.changes.notice("manual_action_taken", action="failed", step=visit.step, visit=visit.visit, **said)
        self._end_attempt(visit, performed, "abandoned", reason)
        if visit.irreversible:
            self._interrupt(visit, reason, None)
        else:
            self._give_up(visit, reason, None)
        self._settle()

    def try_again(self, visit: StepFact, decider: Decider) -> None:
        """An operator has a step attempted again that was interrupted or did not begin."""
        self._answer(visit, "retried", decider)
        self._move_step(visit, "pending", decision=None, abandoned=0, due_at=None)
        self._dispatch(visit)
        self._settle()

    def cancel(self, decider: Decider, open_rows: Sequence[StepFact], *, compensate: bool) -> None:
        """An operator cancels: what is not executing ends now, what is executing ends the run when it ends."""
        self._told("cancelled", decider)
        wanted = "requested" if compensate else None
        self._move("cancelling", cancelled_at=self.now, due_at=None, compensation=wanted)
        self._stop(open_rows)
        self._settle()

    def retry_compensation(self, decider: Decider) -> None:
        """An operator has the failed compensations tried again."""
        failed = [row for row in in_order(self.around.compensations) if row.status == "failed"]
        self._told("compensation_retried", decider)
        for row in failed:
            self._move_step(row, "pending", error=None, finished_at=None, abandoned=0)
        self.changes.run["compensation"] = "running"
        noted = self.run.acknowledged_at or self.run.replayed_as_id
        self._restate_needs(noted=True)
        if self.run.status == "failed" and not noted:
            self._need("failed", since=self.run.needs_since)
        self._dispatch(failed[0])

    def replayed(self, decider: Decider, run_id: str, facts: Mapping[str, Any]) -> None:
        """An operator had the run replayed as another. facts: for the audit, where it begins."""
        said = {**(decider.metadata or {}), "run_id": run_id, **facts}
        self._told("replayed", replace(decider, metadata=said))
        self.changes.run["replayed_as_id"] = run_id
        self._restate_needs(noted=True)

    def acknowledge(self, decider: Decider) -> None:
        """An operator has taken note of the failure."""
        self._told("acknowledged", decider)
        self.changes.run["acknowledged_at"] = self.now
        self._restate_needs(noted=True)

    def _advance(self, visit: StepFact) -> None:
        if self.status in TERMINAL:
            self._completed_late(visit)
        elif self.leaves and self.status != "cancelling":
            self._leave_to_others(visit)
        elif self.status != "cancelling" and self.spec.style == "dependency":
            self._release_dependents(visit.step)
        elif self.status != "cancelling":
            self._follow_route(visit.step)
        self._settle()

    def _retry(
        self, visit: StepFact, reason: Mapping[str, Any], seconds: float, given: Mapping[str, Any] | None
    ) -> None:
        due = self.now + timedelta(seconds=seconds)
        self._move_step(visit, "pending", error=reason, due_at=due, input=given, abandoned=0)
        self.changes.released[visit.id] = due
        self.changes.notice(
            "step_retry_scheduled", step=visit.step, visit=visit.visit, attempt=visit.attempts, delay=seconds
        )
        if visit.kind == "step":
            self._retrying += 1
            self.changes.run.update(current_step=visit.step, due_at=due, error=dict(reason))

    def _give_up(
        self,
        visit: StepFact,
        reason: Mapping[str, Any],
        given: Mapping[str, Any] | None,
        *,
        was_open: bool = True,
        in_full: Mapping[str, Any] | None = None,
    ) -> None:
        """in_full: the error with all its details, for the step to which an error route leads."""
        self._close(visit, "failed", error=reason, **({"input": given} if given is not None else {}))
        if was_open:
            self._leave(visit)
        if visit.kind == "compensation":
            self._next_compensation(visit, failed=True)
        elif self.status in STOPPING:
            return
        elif self.leaves:
            self._leave_to_others(visit)
        else:
            self._follow_failure(visit, reason, in_full)

    def _follow_failure(
        self, visit: StepFact, reason: Mapping[str, Any], in_full: Mapping[str, Any] | None = None
    ) -> None:
        route = self.spec.steps[visit.step].error if visit.step in self.spec.steps else None
        if route is not None and self.spec.style == "flow":
            self._take_error_route(visit, route, in_full or reason)
        else:
            self._fail_run(visit.step, reason)

    def _leave_to_others(self, visit: StepFact) -> None:
        """The visit has ended; what follows from it is not for this process to decide."""
        assert self.leaves is not None
        if visit.id in self.changes.ended:
            self.changes.ended.remove(visit.id)
        self.changes.left[visit.id] = self.leaves
        self.changes.update(visit.id, due_at=self.now)

    def _take_error_route(self, visit: StepFact, route: ErrorRoute, reason: Mapping[str, Any]) -> None:
        if route.recovery:
            self.changes.update(visit.id, recovery=route.recovery)
            self._audit(f"{route.recovery}_routed", visit, metadata={"target": route.target})
        self.changes.run["error"] = None
        self._enter(route.target, failure=reason)

    def _interrupt(self, visit: StepFact, reason: Mapping[str, Any], given: Mapping[str, Any] | None) -> None:
        if given is not None:
            self.changes.update(visit.id, input=given)
        self._audit("interrupted", visit, metadata={"error": _said(reason)})
        self._wait_for_a_person(visit, "interrupted", reason)

    def _wait_for_a_person(
        self, visit: StepFact, kind: Literal["interrupted", "incident"], reason: Mapping[str, Any]
    ) -> None:
        """An operator has the step attempted again, or says what came of it; the others go on."""
        step = self.spec.steps.get(visit.step) if self.spec.style == "flow" else None
        route = step.error if step else None
        decision = {
            "kind": kind,
            "since": self.now.isoformat(),
            "prompt": None,
            "permission": visit.settings.get("permission"),
            "ok": None,
            "error": route.target if route else None,
            "output": visit.settings.get("output"),
        }
        self._move_step(visit, "paused", decision=decision, error=reason, due_at=None)
        self.changes.ended.append(visit.id)
        self._leave(visit)
        if self.status not in TERMINAL:
            self.changes.run.update(current_step=visit.step, error=dict(reason))
        self._need(kind)

    def _answer(self, visit: StepFact, event: str, decider: Decider) -> None:
        said = {"actor": decider.actor, "comment": decider.comment, "metadata": decider.metadata}
        kept = {key: value for key, value in said.items() if value is not None}
        self.changes.update(visit.id, manual={"event": event, "at": self.now.isoformat(), **kept})
        self._audit("failed_by_operator" if event == "failed" else event, visit, **said)
        self.changes.notice("manual_action_taken", action=event, step=visit.step, visit=visit.visit, **said)
        if visit.kind == "step" and (visit.decision or {}).get("kind") in ("pause", "approval"):
            began = visit.started_at or self.now
            self._end_attempt(visit, Performed(number=visit.attempts + 1, worker=None, started_at=began), "completed")
            if visit.attempts:
                self.changes.update(visit.id, attempts=visit.attempts + 1)
        self._restate_needs()


def _said(reason: Mapping[str, Any]) -> dict[str, Any]:
    """An error as the audit keeps it, by the names that it has anywhere else."""
    return {name: reason.get(name) for name in ("type", "message", "code")}


_OPTIONS: Final = {"approved": "approve", "rejected": "reject"}


def decision_output(event: str, decision: Mapping[str, Any], decider: Decider, now: datetime) -> dict[str, Any]:
    """What a decision adds to the run's state, under its key."""
    output: dict[str, Any] = {}
    if decision.get("kind") == "approval":
        option = _OPTIONS.get(event, event)
        output = {"option": option, "decision": event, "actor": decider.actor, "decided_at": now.isoformat()}
        output |= {"comment": decider.comment} if decider.comment is not None else {}
        output |= {"metadata": dict(decider.metadata)} if decider.metadata is not None else {}
        output |= {"approved_before": [dict(each) for each in given(decision)]} if wanted(decision) > 1 else {}
    key = decision.get("output")
    return {key: output} if key else output
