"""Which steps come next, and how a run ends if none does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from ..definition import state_expressions
from ..definition.spec import EndSpec, Route, StepSpec, VisitSettings, end_at
from ..errors import ErrorRecord
from .changes import NewAuditEvent, NewDispatch, NewStepRun
from .diversions import diverted_by
from .error_records import error, fingerprint, in_audit
from .facts import RunStarted, StepFact
from .kept_decisions import EVENT, DecisionKept
from .reminders import reminders_of
from .tally import Tally
from .waits import Asked, UnresolvedError, asked_by, awaited_by, moment


class Successors:
    """Enters steps: the first ones, those that a route leads to, and joins whose dependencies have completed.

    If the run is brought to another definition, `Reconciliation` opens its joins, after all else is decided.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._spec, self._context = tally.spec, tally.context

    def begin(self, started: RunStarted) -> None:
        """Enter the first steps of a new run, or the one where a replay begins."""
        if started.at_step is not None and self._spec.style == "flow":
            self.enter(started.at_step, failure=started.failure)
        elif started.at_step is not None:
            self._enter_behind({*started.done})
        else:
            for name in self._spec.entry:
                self.enter(name)
            if self._spec.style == "dependency":
                self._tally.set_run(remaining=len(self._spec.steps))

    def _enter_behind(self, done: set[str]) -> None:
        self._tally.set_run(remaining=len(self._spec.steps) - len(done))
        for each in self._spec.steps.values():
            missing = len(set(each.after) - done)
            if each.name not in done and (missing == 0 or missing < len(each.after)):
                self.enter(each.name, missing=missing)

    def follow_route(self, step: str) -> None:
        """Enter the step that a route of the completed one leads to, or complete the run if it has no routes."""
        self.follow(step, self._spec.steps[step].ok)

    def follow(self, step: str, routes: Sequence[Route]) -> None:
        """Enter the step that the route leads to whose condition holds, or complete the run if there are no routes."""
        if not routes:
            self.finish()
            return
        try:
            route = state_expressions.choose(routes, self._context.state)
        except state_expressions.ConditionError as unfit:
            self.fail_run(step, error("ConditionError", str(unfit), code="condition"))
            return
        if route is None:
            said = f"No condition on the way out of step {step} was met, and there is no fallback."
            self.fail_run(step, error("NoMatchingTransition", said, code="no_matching_transition"))
            return
        self.go_to(route.target)

    def go_to(self, target: str) -> None:
        """Enter the step, or go on behind it if it completed for good before a deploy moved it here; or end the run."""
        end = end_at(target)
        if end is not None:
            self.finish(end)
        elif target in self._context.lasting and target not in self._spec.revisited:
            self.follow_route(target)
        else:
            self.enter(target)

    def release_dependents(self, step: str) -> None:
        """Count the completed step down in all that wait for it, and open those that wait for nothing more."""
        tally = self._tally
        if self._context.adoption is not None:
            return
        remaining = tally.changes.run.get("remaining", tally.run.remaining) - 1
        tally.set_run(remaining=remaining)
        for name in self._spec.dependents[step]:
            self._count_down(name)
        if tally.open_steps == 0 and tally.needs_count == 0:
            if remaining > 0:
                tally.changes.reads = ("all",)
            else:
                self.finish()

    def _count_down(self, name: str) -> None:
        row = self._context.joins.get(name)
        if row is None:
            self.enter(name, missing=len(self._spec.steps[name].after) - 1)
        elif row.missing > 1:
            self._tally.changes.update(row.id, missing=row.missing - 1)
        elif row.missing == 1:
            self.open_join(row)

    def open_join(self, row: StepFact) -> None:
        """Dispatch, or ask, a visit that has nothing left to wait for."""
        tally, step = self._tally, self._spec.steps[row.step]
        tally.changes.update(row.id, missing=0, sees=tally.position)
        if step.opens_wait:
            self.ask(row, step)
            return
        if step.kind == "wait" or step.timed:
            self.open_again(row, step)
            return
        tally.open_steps += 1
        tally.changes.dispatched.append(NewDispatch(step_run_id=row.id, kind="step", step=row.step, due_at=tally.now))

    def enter(self, name: str, *, failure: ErrorRecord | None = None, missing: int = 0) -> None:
        """Make a visit to the step, or fail the run if it allows no more.

        failure: the error that led there, by an error route. missing: how many steps the visit waits for.
        """
        tally, step = self._tally, self._spec.steps[name]
        visit = self._context.visits.get(name, 0) + 1
        if visit > self._spec.visits_allowed(name):
            said = f"Step {name} was entered {visit - 1} times; max_visits allows no more."
            self.fail_run(name, error("MaxVisitsExceeded", said, code="max_visits"))
            return
        row = NewStepRun(
            id=tally.new_id(),
            kind="step",
            step=name,
            visit=visit,
            status="pending",
            sees=tally.position,
            settings=self._spec.visit_settings[name],
            missing=missing,
            failure=failure,
        )
        tally.changes.entered.append(row)
        if missing:
            row.delivered = False
        elif step.opens_wait:
            self._open(row, step)
        else:
            self._make_due(row, step)

    def _make_due(self, row: NewStepRun, step: StepSpec) -> None:
        tally = self._tally
        if step.kind == "wait" or step.timed:
            try:
                row.due_at = self.over_at(step) if step.kind == "wait" else None
                row.decide_by = self.remind_of(row.id, step)
            except UnresolvedError as unfit:
                self._open_incident(row, str(unfit))
                return
        tally.open_steps += 1
        if self._spec.style == "flow":
            tally.set_run(current_step=row.step, attempt=0, max_attempts=step.retry.max_attempts, due_at=row.due_at)

    def over_at(self, step: StepSpec) -> datetime:
        """Return when a step that waits is over.

        Raises:
            UnresolvedError: The state does not hold the time that it takes from there.
        """
        now = self._tally.now
        if step.until is None:
            return now + step.duration if step.duration else now
        return max(moment(self._context.state, step.until, now, f"until={'.'.join(step.until)!r}"), now)

    def remind_of(self, step_run_id: str, step: StepSpec) -> datetime | None:
        """Have people told of the step when it takes long, and return by when it should have ended.

        Raises:
            UnresolvedError: The state does not hold the time that it takes from there.
        """
        if not step.timed:
            return None
        due_at, kept = reminders_of(step, self._context.state, self._tally.now)
        self._tally.changes.reminded[step_run_id] = kept
        return due_at

    def _open(self, row: NewStepRun, step: StepSpec) -> None:
        """Have a visit that is being made wait for a person or an event."""
        try:
            row.decision, row.decide_by = self._asked(step)
        except UnresolvedError as unfit:
            self._open_incident(row, str(unfit))
            return
        row.status, row.delivered = "paused", False
        self._tell_of(row, row.decision, row.decide_by)

    def _open_incident(self, row: NewStepRun, why: str) -> None:
        row.status, row.delivered = "paused", False
        row.error = error("InputError", why)
        row.decision = self.standstill(row.step, "incident", row.settings)
        self._tell_of_incident(row, row.error)

    def ask(self, row: StepFact, step: StepSpec) -> None:
        """Have a visit that exists wait for a person or an event."""
        tally = self._tally
        try:
            decision, decide_by = self._asked(step)
        except UnresolvedError as unfit:
            self.stand_still(row, str(unfit))
            return
        if row.started_at is not None:
            decision["since"] = tally.now.isoformat()
        tally.move_step(row, "paused", decision=decision, decide_by=decide_by, due_at=None, error=None)
        tally.changes.update(row.id, started_at=row.started_at or tally.now)
        self._tell_of(row, decision, decide_by)

    def open_again(self, row: StepFact, step: StepSpec) -> None:
        """Have a visit wait, or be performed, that could not begin before."""
        if step.opens_wait:
            self.ask(row, step)
            return
        tally = self._tally
        try:
            due = self.over_at(step) if step.kind == "wait" else tally.now
            decide_by = self.remind_of(row.id, step)
        except UnresolvedError as unfit:
            self.stand_still(row, str(unfit))
            return
        tally.changes.update(row.id, due_at=due if step.kind == "wait" else None, decide_by=decide_by)
        tally.changes.dispatched.append(NewDispatch(step_run_id=row.id, kind="step", step=row.step, due_at=due))
        tally.open_steps += 1

    def stand_still(self, row: StepFact, why: str) -> None:
        """Have a person look at a visit that cannot begin, because the state lacks what it needs."""
        tally = self._tally
        reason = error("InputError", why)
        decision = self.standstill(row.step, "incident", row.settings)
        tally.move_step(row, "paused", decision=decision, error=reason, due_at=None)
        self._tell_of_incident(row, reason)

    def standstill(self, step: str, kind: Literal["interrupted", "incident"], settings: VisitSettings) -> DecisionKept:
        """Return what is asked at a step that cannot go on."""
        declared = self._spec.steps.get(step) if self._spec.style == "flow" else None
        return DecisionKept(
            kind=kind,
            since=self._tally.now.isoformat(),
            prompt=None,
            permission=settings.permission,
            ok=None,
            error=declared.failure_route.target if declared and declared.failure_route else None,
            output=settings.output,
        )

    def _asked(self, step: StepSpec) -> Asked:
        if step.awaits is not None:
            return awaited_by(step, self._context.state, self._tally.now)
        asked = asked_by(step, self._context.state, self._tally.now, self._context.hides)
        if step.not_starter and self._tally.run.starters:
            asked.decision["starters"] = [*self._tally.run.starters]
        return asked

    def _tell_of(self, row: StepFact | NewStepRun, decision: DecisionKept, decide_by: datetime | None) -> None:
        """Record that a visit waits for a person or an event."""
        tally = self._tally
        tally.open_wait(row.id, row.step, decision, decide_by)
        tally.changes.notice("step_started", step=row.step, visit=row.visit, attempt=1)
        tally.set_run(current_step=row.step, attempt=0, max_attempts=0, due_at=None)
        if decision["kind"] == EVENT:
            tally.open_steps += 1
            tally.awaiting_steps += 1
            if tally.status == "pending":
                tally.move_run("running")
            return
        tally.changes.audit.append(NewAuditEvent(type="paused", step=row.step, visit=row.visit))
        tally.tell("decision.opened", row)
        tally.need_decision(decision["kind"], due=decide_by)

    def _tell_of_incident(self, row: StepFact | NewStepRun, reason: ErrorRecord) -> None:
        tally, said = self._tally, {"error": in_audit(reason)}
        tally.changes.audit.append(NewAuditEvent(type="incident", step=row.step, visit=row.visit, metadata=said))
        tally.tell("run.incident", row, said)
        tally.set_run(current_step=row.step, attempt=0, max_attempts=0, due_at=None, error=reason)
        tally.need_decision("incident")

    def fail_run(self, step: str | None, reason: ErrorRecord) -> None:
        """Fail the run at the step; None where it is at none."""
        tally = self._tally
        tally.move_run(
            "failed",
            current_step=step,
            error=reason,
            error_fingerprint=fingerprint(tally.run.workflow, step, reason),
            finished_at=tally.now,
            due_at=None,
        )
        tally.clear_needs()
        tally.need("failed")

    def finish(self, end: EndSpec | None = None) -> None:
        """Complete the run. end: how it says to have ended; without one by what led it off its way, if anything did."""
        tally = self._tally
        tally.move_run(
            "completed",
            current_step=None,
            error=None,
            finished_at=tally.now,
            due_at=None,
            attempt=0,
            max_attempts=0,
        )
        outcome = end.outcome if end else diverted_by(tally.diversion)
        if outcome is not None:
            tally.set_run(outcome=outcome)
        if end is not None and end.compensate:
            tally.set_run(compensation="requested")
