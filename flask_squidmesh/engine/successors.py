"""Which steps come next, how a run ends where none does, and what is undone then."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from ..definition import state_expressions
from ..definition.spec import StepSpec
from .facts import (
    NewAuditEvent,
    NewDispatch,
    NewStepRun,
    RowsToRead,
    StepFact,
    error,
    fact_after,
    fingerprint,
    settings_of,
)
from .tally import Tally
from .transitions import TERMINAL


class Entering(Tally):
    """Enters steps: the first ones, those that a route leads to, and joins whose dependencies have completed."""

    def begin(self) -> None:
        """Enter the first steps of a new run."""
        for name in self.spec.entry:
            self._enter(name)
        if self.spec.style == "dependency":
            self.changes.run["remaining"] = len(self.spec.steps)
        self._settle()

    def begin_after(self, done: Collection[str], step: str, failure: Mapping[str, Any] | None = None) -> None:
        """Begin at one step, with the outputs of what came before copied: a replay from there.

        done: in dependency style, the steps that were copied. failure: what led there before, by an error route.
        """
        if self.spec.style == "flow":
            self._enter(step, failure=failure)
        else:
            self.changes.run["remaining"] = len(self.spec.steps) - len(done)
            for each in self.spec.steps.values():
                missing = len(set(each.after) - set(done))
                if each.name not in done and (missing == 0 or missing < len(each.after)):
                    self._enter(each.name, missing=missing)
        self._settle()

    def _follow_route(self, step: str) -> None:
        routes = self.spec.steps[step].ok
        if not routes:
            self._finish()
            return
        try:
            route = state_expressions.choose(routes, self.around.state)
        except state_expressions.ConditionError as unfit:
            self._fail_run(step, error("ConditionError", str(unfit), code="condition"))
            return
        if route is None:
            said = f"No condition on the way out of step {step} was met, and there is no fallback."
            self._fail_run(step, error("NoMatchingTransition", said, code="no_matching_transition"))
            return
        self._go_to(route.target)

    def _go_to(self, target: str) -> None:
        """Enter the step, or go on behind it where it completed for good before a deploy moved it to here."""
        if target in self.around.lasting and target not in self.spec.revisited:
            self._follow_route(target)
        else:
            self._enter(target)

    def _release_dependents(self, step: str) -> None:
        remaining = self.changes.run.get("remaining", self.run.remaining) - 1
        self.changes.run["remaining"] = remaining
        for name in self.spec.dependents[step]:
            self._count_down(name)
        if self._open == 0 and self._needs == 0:
            self.at_odds = remaining > 0
            if not self.at_odds:
                self._finish()

    def _count_down(self, name: str) -> None:
        row = self.around.joins.get(name)
        if row is None:
            self._enter(name, missing=len(self.spec.steps[name].after) - 1)
        elif row.missing > 1:
            self.changes.update(row.id, missing=row.missing - 1)
        elif row.missing == 1:
            self._open_join(row)

    def _open_join(self, row: StepFact) -> None:
        step = self.spec.steps[row.step]
        self.changes.update(row.id, missing=0, sees=self.changes.run.get("position", self.run.position))
        if step.manual:
            decision, decide_by = self._decision(step)
            self._move_step(row, "paused", decision=decision, decide_by=decide_by, started_at=self.now)
            self._ask(row.step, row.visit, decision, decide_by)
            return
        due = self.now + step.duration if step.duration else self.now
        if step.duration:
            self.changes.update(row.id, due_at=due)
        self._open += 1
        self.changes.dispatched.append(NewDispatch(step_run_id=row.id, kind="step", step=row.step, due_at=due))

    def _enter(self, name: str, *, failure: Mapping[str, Any] | None = None, missing: int = 0) -> None:
        step = self.spec.steps[name]
        visit = self.around.visits.get(name, 0) + 1
        if visit > self.spec.visits_allowed(name):
            said = f"Step {name} was entered {visit - 1} times; max_visits allows no more."
            self._fail_run(name, error("MaxVisitsExceeded", said, code="max_visits"))
            return
        row = NewStepRun(
            id=self.new_id(),
            kind="step",
            step=name,
            visit=visit,
            status="pending",
            sees=self.changes.run.get("position", self.run.position),
            settings=settings_of(step),
            missing=missing,
            failure=failure,
        )
        self.changes.entered.append(row)
        if missing:
            row.delivered = False
        elif step.manual:
            row.status, row.delivered = "paused", False
            row.decision, row.decide_by = self._decision(step)
            self._ask(name, visit, row.decision, row.decide_by)
        else:
            self._open += 1
            row.due_at = self.now + step.duration if step.duration else None
            self._point_at(step, row)

    def _point_at(self, step: StepSpec, row: NewStepRun) -> None:
        if self.spec.style == "flow":
            self.changes.run.update(
                current_step=row.step, attempt=0, max_attempts=step.retry.max_attempts, due_at=row.due_at
            )

    def _decision(self, step: StepSpec) -> tuple[dict[str, Any], datetime | None]:
        ok = step.ok[0].target if step.ok else None
        decision = {
            "kind": step.kind,
            "prompt": state_expressions.render(step.prompt, self.around.state, self.around.hides)
            if step.prompt
            else None,
            "permission": step.permission,
            "ok": ok,
            "error": step.error.target if step.error else None,
            "output": step.output,
            **({"approvals": step.approvals} if step.approvals > 1 else {}),
            **({"not_starter": True} if step.not_starter else {}),
            **({"starters": [*self.run.starters]} if step.not_starter and self.run.starters else {}),
        }
        return decision, self.now + step.within if step.within else None

    def _ask(self, step: str, visit: int, decision: Mapping[str, Any], decide_by: datetime | None) -> None:
        self.changes.audit.append(NewAuditEvent(type="paused", step=step, visit=visit))
        self.changes.notice("step_started", step=step, visit=visit, attempt=1)
        self.changes.run.update(current_step=step, attempt=0, max_attempts=0, due_at=None)
        self._need("decision" if decision["kind"] == "approval" else "resume", due=decide_by)

    def _fail_run(self, step: str, reason: Mapping[str, Any]) -> None:
        self._error = dict(reason)
        self._move(
            "failed",
            current_step=step,
            error=self._error,
            error_fingerprint=fingerprint(self.run.workflow, step, reason),
            finished_at=self.now,
            due_at=None,
        )
        self._clear_needs()
        self._need("failed")

    def _finish(self) -> None:
        self._move(
            "completed",
            current_step=None,
            error=None,
            finished_at=self.now,
            due_at=None,
            attempt=0,
            max_attempts=0,
        )


class Compensating(Entering):
    """Stops a run that ended unfinished, plans its compensations and goes from one to the next."""

    @property
    def reads(self) -> Sequence[RowsToRead]:
        """The step runs that have to be read once the changes are written, for `halt` to decide the rest.

        There are none but where this decision ended the run unfinished.
        """
        if self.status not in ("failed", "cancelled") or self.run.status in TERMINAL:
            return ()
        requested = self.changes.run.get("compensation", self.run.compensation) == "requested"
        return ("open", "completed") if requested or self.status == "failed" else ("open",)

    def halt(self, rows: Mapping[RowsToRead, Sequence[StepFact]]) -> Self:
        """Decide what stops and what is undone, about the run as the changes leave it. rows: those of `reads`."""
        left = fact_after(self.run, self.changes.run, self.run.revision + 1)
        rest = type(self)(self.spec, left, now=self.now, new_id=self.new_id, around=self.around)
        rest._stop(rows["open"])
        if "completed" in rows:
            rest._compensate(rows["completed"])
        return rest

    def _stop(self, rows: Sequence[StepFact]) -> None:
        """End the step runs that are not executing. A failure leaves it open what became of an interrupted step."""
        for row in rows:
            if row.kind != "step" or row.status == "running":
                continue
            if self.status == "failed" and (row.decision or {}).get("kind") == "interrupted":
                self._need("interrupted")
                continue
            self._close(row, "cancelled")
            if row.status == "pending" and not row.missing:
                self._leave(row)
        if self.status != "failed":
            self._clear_needs()
        self._count()

    def _compensate(self, completed: Sequence[StepFact]) -> None:
        """Undo completed steps, newest completion first, one after the other."""
        done = {(row.step, row.visit) for row in self.around.compensations}
        steps = [row for row in completed if row.compensate and (row.step, row.visit) not in done]
        steps.sort(key=lambda row: row.position or 0, reverse=True)
        for order, row in enumerate(steps):
            self._plan_compensation(row, order=order, delivered=order == 0)
        if steps:
            self.changes.run["compensation"] = "running"
        elif self.run.compensation == "requested":
            self.changes.run["compensation"] = None

    def _plan_compensation(self, row: StepFact, *, order: int, delivered: bool) -> None:
        self.changes.entered.append(
            NewStepRun(
                id=self.new_id(),
                kind="compensation",
                step=row.step,
                visit=row.visit,
                status="pending",
                sees=self.changes.run.get("position", self.run.position),
                settings={
                    **(row.settings.get("compensate_retry") or {}),
                    "kind": "compensation",
                    "compensate": row.compensate,
                    "of": row.id,
                    "order": order,
                },
                failure=self._error,
                delivered=delivered,
            )
        )

    def _next_compensation(self, visit: StepFact, *, failed: bool) -> None:
        others = [row for row in self.around.compensations if row.id != visit.id]
        waiting = [row for row in in_order(others) if row.status == "pending"]
        if waiting:
            self._dispatch(waiting[0])
        elif failed or any(row.status == "failed" for row in others):
            self.changes.run["compensation"] = "failed"
            self._need("compensation_failed")
        else:
            self.changes.run["compensation"] = "completed"

    def _completed_late(self, visit: StepFact) -> None:
        """A step that was executing when the run ended: its effect counts, so it is undone with the others."""
        if not visit.compensate or (self.status != "failed" and not self.run.compensation):
            return
        pending = [row for row in self.around.compensations if row.status in ("pending", "running")]
        orders = [int(row.settings.get("order", 0)) for row in self.around.compensations]
        self._plan_compensation(visit, order=max(orders, default=-1) + 1, delivered=not pending)
        self.changes.run["compensation"] = "running"


def in_order(rows: Sequence[StepFact]) -> list[StepFact]:
    """Compensations in the order they run."""
    return sorted(rows, key=lambda row: int(row.settings.get("order", 0)))
