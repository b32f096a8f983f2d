"""Which steps come next, and how a run ends if none does."""

from __future__ import annotations

from datetime import datetime

from ..definition import state_expressions
from ..definition.spec import StepSpec
from ..errors import ErrorRecord
from .changes import NewAuditEvent, NewDispatch, NewStepRun
from .error_records import error, fingerprint
from .facts import RunStarted, StepFact
from .kept_decisions import DecisionKept
from .tally import Tally


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
        routes = self._spec.steps[step].ok
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
        """Enter the step, or go on behind it if it completed for good before a deploy moved it here."""
        if target in self._context.lasting and target not in self._spec.revisited:
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
        if step.manual:
            decision, decide_by = self.decision(step)
            tally.move_step(row, "paused", decision=decision, decide_by=decide_by, started_at=tally.now)
            self.ask(row.step, row.visit, decision, decide_by)
            return
        due = tally.now + step.duration if step.duration else tally.now
        if step.duration:
            tally.changes.update(row.id, due_at=due)
        tally.open_steps += 1
        tally.changes.dispatched.append(NewDispatch(step_run_id=row.id, kind="step", step=row.step, due_at=due))

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
        elif step.manual:
            row.status, row.delivered = "paused", False
            row.decision, row.decide_by = self.decision(step)
            self.ask(name, visit, row.decision, row.decide_by)
        else:
            tally.open_steps += 1
            row.due_at = tally.now + step.duration if step.duration else None
            if self._spec.style == "flow":
                tally.set_run(current_step=name, attempt=0, max_attempts=step.retry.max_attempts, due_at=row.due_at)

    def decision(self, step: StepSpec) -> tuple[DecisionKept, datetime | None]:
        """Return what a manual step asks, and by when."""
        tally, context = self._tally, self._context
        ok = step.ok[0].target if step.ok else None
        decision = DecisionKept(
            kind="approval" if step.kind == "approval" else "pause",
            prompt=state_expressions.render(step.prompt, context.state, context.hides) if step.prompt else None,
            permission=step.permission,
            ok=ok,
            error=step.error.target if step.error else None,
            output=step.output,
        )
        if step.approvals > 1:
            decision["approvals"] = step.approvals
        if step.not_starter:
            decision["not_starter"] = True
            if tally.run.starters:
                decision["starters"] = [*tally.run.starters]
        return decision, tally.now + step.within if step.within else None

    def ask(self, step: str, visit: int, decision: DecisionKept, decide_by: datetime | None) -> None:
        """Record that the visit waits for a person."""
        tally = self._tally
        tally.changes.audit.append(NewAuditEvent(type="paused", step=step, visit=visit))
        tally.changes.notice("step_started", step=step, visit=visit, attempt=1)
        tally.set_run(current_step=step, attempt=0, max_attempts=0, due_at=None)
        tally.need_decision(decision["kind"], due=decide_by)

    def fail_run(self, step: str, reason: ErrorRecord) -> None:
        """Fail the run at the step."""
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

    def finish(self) -> None:
        """Complete the run."""
        self._tally.move_run(
            "completed",
            current_step=None,
            error=None,
            finished_at=self._tally.now,
            due_at=None,
            attempt=0,
            max_attempts=0,
        )
