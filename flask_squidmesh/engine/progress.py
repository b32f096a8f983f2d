"""How a run moves on: from one step run that ended to the rows that follow from it.

A `Progress` is made for one transaction, from facts read under the run's lock; it collects `changes` and does nothing
else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ..workflow import conditions, templates
from ..workflow.spec import ErrorRoute, StepSpec, WorkflowSpec
from .changes import Changes, NewAttempt, NewAuditEvent, NewDispatch, NewStepRun
from .facts import Decider, Failure, Performed, RunFact, StepFact, settings_of
from .failures import error, fingerprint
from .retries import verdict
from .status import TERMINAL

STOPPING = TERMINAL | {"cancelling"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """What deciding needs beside the run and the step run.

    state: values for conditions and prompts. visits: how often the run has entered the steps that may follow.
    joins: rows of dependents that count their dependencies. decisions: the other open decisions of the run.
    compensations: all compensation rows of the run. hides: whether prompts may not show what has this name.
    """

    state: Mapping[str, Any] = field(default_factory=dict)
    visits: Mapping[str, int] = field(default_factory=dict)
    joins: Mapping[str, StepFact] = field(default_factory=dict)
    decisions: Sequence[StepFact] = ()
    compensations: Sequence[StepFact] = ()
    hides: Callable[[str], bool] = lambda name: False


class Progress:
    """One decision about one run."""

    def __init__(
        self,
        spec: WorkflowSpec,
        run: RunFact,
        *,
        now: datetime,
        new_id: Callable[[], str],
        around: Neighbourhood | None = None,
    ) -> None:
        self.spec, self.run, self.now, self.new_id = spec, run, now, new_id
        self.around = around or Neighbourhood()
        self.changes = Changes()
        self._open, self._retrying, self._needs = run.open_steps, run.retrying_steps, run.needs_count
        self._error = run.error

    @property
    def status(self) -> str:
        """The run's status as decided so far."""
        status: str = self.changes.run.get("status", self.run.status)
        return status

    @property
    def halted(self) -> bool:
        """Whether this decision ended the run unfinished, so that its open step runs have to be stopped."""
        return self.status in ("failed", "cancelled") and self.run.status not in TERMINAL

    @property
    def compensates(self) -> bool:
        """Whether completed steps are to be undone now."""
        if not self.halted:
            return False
        requested: str | None = self.changes.run.get("compensation", self.run.compensation)
        return self.status == "failed" or requested == "requested"

    # -- beginning ---------------------------------------------------------------------------------------------

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

    # -- outcomes of attempts ----------------------------------------------------------------------------------

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
        judged = verdict(visit, failure)
        if judged.kind == "interrupt":
            self._interrupt(visit, failure.error, performed.input)
        elif judged.kind == "retry" and (visit.kind == "compensation" or self.status not in STOPPING):
            self._retry(visit, failure, judged.delay, performed.input)
        else:
            self._give_up(visit, failure.error, performed.input)
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

    # -- decisions of people -----------------------------------------------------------------------------------

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
        target = decision.get("error" if event == "rejected" else "ok")
        if self.spec.style == "dependency":
            self._release_dependents(visit.step)
        elif target is None:
            self._finish()
        else:
            self._enter(target)
        self._settle()

    def resolve(self, visit: StepFact, output: Mapping[str, Any], decider: Decider) -> None:
        """An operator says that an interrupted step's effect did happen, with this output."""
        self._answer(visit, "resolved", decider)
        self._close(visit, "completed", output=dict(output), error=None)
        if self.status not in TERMINAL:
            self.changes.run["error"] = None
        self._record_output(visit)
        self._advance(visit)

    def give_up(self, visit: StepFact, reason: Mapping[str, Any], decider: Decider) -> None:
        """An operator says that an interrupted step has failed."""
        self._answer(visit, "failed", decider)
        self._give_up(visit, reason, None, was_open=False)
        self._settle()

    def try_again(self, visit: StepFact, decider: Decider) -> None:
        """An operator has an interrupted step attempted again."""
        self._answer(visit, "retried", decider)
        self.changes.update(visit.id, status="pending", decision=None, abandoned=0, due_at=None)
        self._dispatch(visit)
        self._settle()

    def cancel(self, decider: Decider, open_rows: Sequence[StepFact], *, compensate: bool) -> None:
        """An operator cancels: what is not executing ends now, what is executing ends the run when it ends."""
        self._told("cancelled", decider)
        self.changes.run.update(status="cancelling", due_at=None, compensation="requested" if compensate else None)
        self.stop(open_rows)
        self._settle()

    def retry_compensation(self, decider: Decider) -> None:
        """An operator has the failed compensations tried again."""
        failed = [row for row in _ordered(self.around.compensations) if row.status == "failed"]
        self._told("compensation_retried", decider)
        for row in failed:
            self.changes.update(row.id, status="pending", error=None, finished_at=None, abandoned=0)
        self.changes.run["compensation"] = "running"
        self._clear_needs()
        if self.run.status == "failed" and not self.run.acknowledged_at:
            self._need("failed", count=1)
        self._dispatch(failed[0])

    def replayed(self, decider: Decider, run_id: str) -> None:
        """An operator had the run replayed as another."""
        said = {**(decider.metadata or {}), "run_id": run_id}
        self._told("replayed", replace(decider, metadata=said))
        self.changes.run["replayed_as_id"] = run_id
        self._clear_needs()

    def acknowledge(self, decider: Decider) -> None:
        """An operator has taken note of the failure."""
        self._told("acknowledged", decider)
        self.changes.run["acknowledged_at"] = self.now
        self._clear_needs()

    # -- endings -----------------------------------------------------------------------------------------------

    def stop(self, rows: Sequence[StepFact]) -> None:
        """End the step runs that are not executing."""
        for row in rows:
            if row.kind != "step" or row.status == "running":
                continue
            self._close(row, "cancelled")
            if row.status == "pending" and not row.missing:
                self._leave(row)
        if self.status != "failed":
            self._clear_needs()
        self._count()

    def compensate(self, completed: Sequence[StepFact]) -> None:
        """Undo completed steps, newest completion first, one after the other."""
        done = {(row.step, row.visit) for row in self.around.compensations}
        steps = [row for row in completed if row.compensate and (row.step, row.visit) not in done]
        steps.sort(key=lambda row: row.position or 0, reverse=True)
        for order, row in enumerate(steps):
            self._plan_compensation(row, order=order, delivered=order == 0)
        if steps:
            self.changes.run["compensation"] = "running"
        elif self.changes.run.get("compensation", self.run.compensation) == "requested":
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
        waiting = [row for row in _ordered(others) if row.status == "pending"]
        if waiting:
            self._dispatch(waiting[0])
        elif failed or any(row.status == "failed" for row in others):
            self.changes.run["compensation"] = "failed"
            self._need("compensation_failed", count=1)
        else:
            self.changes.run["compensation"] = "completed"

    # -- moving on ---------------------------------------------------------------------------------------------

    def _advance(self, visit: StepFact) -> None:
        if self.status in TERMINAL:
            self._completed_late(visit)
        elif self.status != "cancelling" and self.spec.style == "dependency":
            self._release_dependents(visit.step)
        elif self.status != "cancelling":
            self._follow_route(visit)
        self._settle()

    def _completed_late(self, visit: StepFact) -> None:
        """A step that was executing when the run ended: its effect counts, so it is undone with the others."""
        if not visit.compensate or (self.status != "failed" and not self.run.compensation):
            return
        pending = [row for row in self.around.compensations if row.status in ("pending", "running")]
        orders = [int(row.settings.get("order", 0)) for row in self.around.compensations]
        self._plan_compensation(visit, order=max(orders, default=-1) + 1, delivered=not pending)
        self.changes.run["compensation"] = "running"

    def _follow_route(self, visit: StepFact) -> None:
        routes = self.spec.steps[visit.step].ok
        if not routes:
            self._finish()
            return
        try:
            route = conditions.choose(routes, self.around.state)
        except conditions.ConditionError as unfit:
            self._fail_run(visit.step, error("ConditionError", str(unfit), code="condition"))
            return
        if route is None:
            said = f"No condition on the way out of step {visit.step} was met, and there is no fallback."
            self._fail_run(visit.step, error("NoMatchingTransition", said, code="no_matching_transition"))
            return
        self._enter(route.target)

    def _release_dependents(self, step: str) -> None:
        remaining = self.changes.run.get("remaining", self.run.remaining) - 1
        self.changes.run["remaining"] = remaining
        for name in self.spec.dependents[step]:
            self._count_down(name)
        if self._open == 0 and self._needs == 0:
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
            self.changes.update(row.id, status="paused", decision=decision, decide_by=decide_by)
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
            "prompt": templates.render(step.prompt, self.around.state, self.around.hides) if step.prompt else None,
            "permission": step.permission,
            "ok": ok,
            "error": step.error.target if step.error else None,
            "output": step.output,
        }
        return decision, self.now + step.within if step.within else None

    def _ask(self, step: str, visit: int, decision: Mapping[str, Any], decide_by: datetime | None) -> None:
        self.changes.audit.append(NewAuditEvent(type="paused", step=step, visit=visit))
        self.changes.notice("step_started", step=step, visit=visit, attempt=1)
        self.changes.run.update(current_step=step, attempt=0, max_attempts=0, due_at=None)
        self._need("decision" if decision["kind"] == "approval" else "resume", due=decide_by)

    # -- failing -----------------------------------------------------------------------------------------------

    def _retry(self, visit: StepFact, failure: Failure, seconds: float, given: Mapping[str, Any] | None) -> None:
        due = self.now + timedelta(seconds=seconds)
        self.changes.update(visit.id, status="pending", error=failure.error, due_at=due, input=given, abandoned=0)
        self.changes.released[visit.id] = due
        self.changes.notice(
            "step_retry_scheduled", step=visit.step, visit=visit.visit, attempt=visit.attempts, delay=seconds
        )
        if visit.kind == "step":
            self._retrying += 1
            self.changes.run.update(current_step=visit.step, due_at=due, error=dict(failure.error))

    def _give_up(
        self,
        visit: StepFact,
        reason: Mapping[str, Any],
        given: Mapping[str, Any] | None,
        *,
        was_open: bool = True,
    ) -> None:
        route = self.spec.steps[visit.step].error if visit.step in self.spec.steps else None
        self._close(visit, "failed", error=reason, **({"input": given} if given is not None else {}))
        if was_open:
            self._leave(visit)
        if visit.kind == "compensation":
            self._next_compensation(visit, failed=True)
        elif self.status in STOPPING:
            return
        elif route is not None and self.spec.style == "flow":
            self._take_error_route(visit, route, reason)
        else:
            self._fail_run(visit.step, reason)

    def _take_error_route(self, visit: StepFact, route: ErrorRoute, reason: Mapping[str, Any]) -> None:
        if route.recovery:
            self.changes.update(visit.id, recovery=route.recovery)
            self._audit(f"{route.recovery}_routed", visit, metadata={"target": route.target})
        self.changes.run["error"] = None
        self._enter(route.target, failure=reason)

    def _interrupt(self, visit: StepFact, reason: Mapping[str, Any], given: Mapping[str, Any] | None) -> None:
        route = self.spec.steps[visit.step].error if self.spec.style == "flow" else None
        decision = {
            "kind": "interrupted",
            "prompt": None,
            "permission": visit.settings.get("permission"),
            "ok": None,
            "error": route.target if route else None,
            "output": visit.settings.get("output"),
        }
        self.changes.update(visit.id, status="paused", decision=decision, error=reason, due_at=None)
        if given is not None:
            self.changes.update(visit.id, input=given)
        self.changes.ended.append(visit.id)
        self._leave(visit)
        self._audit("interrupted", visit, metadata={"error": reason.get("message")})
        if self.status not in TERMINAL:
            self.changes.run.update(current_step=visit.step, error=dict(reason))
        self._need("interrupted")

    def _fail_run(self, step: str, reason: Mapping[str, Any]) -> None:
        self._error = dict(reason)
        self.changes.run.update(
            status="failed",
            current_step=step,
            error=self._error,
            error_fingerprint=fingerprint(self.run.workflow, step, reason),
            finished_at=self.now,
            due_at=None,
        )
        self._clear_needs()
        self._need("failed", count=1)

    def _finish(self) -> None:
        self.changes.run.update(
            status="completed",
            current_step=None,
            error=None,
            finished_at=self.now,
            due_at=None,
            attempt=0,
            max_attempts=0,
        )

    # -- small parts -------------------------------------------------------------------------------------------

    def _end_attempt(
        self, visit: StepFact, performed: Performed, status: str, reason: Mapping[str, Any] | None = None
    ) -> None:
        self.changes.attempts.append(
            NewAttempt(
                step_run_id=visit.id,
                number=performed.number,
                status=status,
                worker=performed.worker,
                error=reason,
                started_at=performed.started_at,
                finished_at=self.now,
            )
        )
        seconds = (self.now - performed.started_at).total_seconds()
        said = {"step": visit.step, "visit": visit.visit, "attempt": performed.number, "duration": seconds}
        if status == "completed":
            self.changes.notice("step_completed", **said)
        else:
            self.changes.notice("step_failed", **said, error=reason)

    def _close(self, visit: StepFact, status: str, **columns: Any) -> None:
        self.changes.update(visit.id, status=status, finished_at=self.now, due_at=None, **columns)
        self.changes.ended.append(visit.id)

    def _leave(self, visit: StepFact) -> None:
        """The step run can no longer go on by itself."""
        if visit.kind == "step":
            self._open -= 1
            if visit.waits_for_retry:
                self._retrying -= 1

    def _record_output(self, visit: StepFact) -> None:
        position = self.run.position + 1
        self.changes.run["position"] = position
        self.changes.update(visit.id, position=position)

    def _dispatch(self, row: StepFact) -> None:
        self.changes.dispatched.append(NewDispatch(step_run_id=row.id, kind=row.kind, step=row.step, due_at=self.now))
        if row.kind == "step":
            self._open += 1

    def _answer(self, visit: StepFact, event: str, decider: Decider) -> None:
        said = {"actor": decider.actor, "comment": decider.comment, "metadata": decider.metadata}
        kept = {key: value for key, value in said.items() if value is not None}
        self.changes.update(visit.id, manual={"event": event, "at": self.now.isoformat(), **kept})
        self._audit("failed_by_operator" if event == "failed" else event, visit, **said)
        self.changes.notice("manual_action_taken", action=event, step=visit.step, visit=visit.visit, **said)
        if visit.kind == "step" and (visit.decision or {}).get("kind") in ("pause", "approval"):
            began = visit.started_at or self.now
            self._end_attempt(visit, Performed(number=1, worker=None, started_at=began), "completed")
        self._restate_needs()

    def _told(self, event: str, decider: Decider) -> None:
        """A person did something to the run as a whole."""
        said = {"actor": decider.actor, "comment": decider.comment, "metadata": decider.metadata}
        self._audit(event, **said)
        self.changes.notice("manual_action_taken", action=event, **said)

    def _restate_needs(self) -> None:
        """Say what is still open once a decision was taken."""
        failed = self.run.needs if self.run.needs in ("failed", "compensation_failed") else None
        self._clear_needs()
        if failed:
            self._need(failed, count=1, since=self.run.needs_since)
        for row in self.around.decisions:
            kind = (row.decision or {}).get("kind")
            word = {"approval": "decision", "pause": "resume"}.get(str(kind), "interrupted")
            self._need(word, due=row.decide_by, since=row.started_at)

    def _need(
        self, kind: str, *, count: int | None = None, due: datetime | None = None, since: datetime | None = None
    ) -> None:
        run = self.changes.run
        dues = [when for when in (run.get("needs_due_at", self.run.needs_due_at), due) if when is not None]
        ranked = ("compensation_failed", "failed", "interrupted", "decision", "resume")
        present = run.get("needs", self.run.needs)
        self._needs = self._needs + 1 if count is None else count
        run["needs"] = min((word for word in (present, kind) if word), key=ranked.index)
        run["needs_count"] = self._needs
        run["needs_due_at"] = min(dues, default=None) if kind not in ("failed", "compensation_failed") else None
        began = [when for when in (run.get("needs_since", self.run.needs_since), since) if when is not None]
        run["needs_since"] = min(began, default=self.now)

    def _clear_needs(self) -> None:
        self._needs = 0
        self.changes.run.update(needs=None, needs_count=0, needs_due_at=None, needs_since=None)

    def _audit(self, type: str, visit: StepFact | None = None, **said: Any) -> None:
        step, number = (visit.step, visit.visit) if visit else (None, None)
        self.changes.audit.append(NewAuditEvent(type=type, step=step, visit=number, **said))

    def _count(self) -> None:
        self.changes.run.update(open_steps=self._open, retrying_steps=self._retrying)

    def _settle(self) -> None:
        """Let the counts say what status the run has."""
        run = self.changes.run
        self._count()
        if self.status in TERMINAL:
            return
        if self.status == "cancelling":
            if self._open == 0 and self._needs == 0:
                run.update(status="cancelled", current_step=None, finished_at=self.now)
        elif self._open == 0 and self._needs:
            run["status"] = "paused"
        elif self._open and self._retrying == self._open:
            run["status"] = "retrying"
        elif self.run.status != "pending" or self.run.started_at:
            run["status"] = "running"


def _ordered(rows: Sequence[StepFact]) -> list[StepFact]:
    return sorted(rows, key=lambda row: int(row.settings.get("order", 0)))


def decision_output(event: str, decision: Mapping[str, Any], decider: Decider, now: datetime) -> dict[str, Any]:
    """What a decision adds to the run's state, under its key."""
    output: dict[str, Any] = {}
    if decision.get("kind") == "approval":
        output = {"decision": event, "actor": decider.actor, "decided_at": now.isoformat()}
        output |= {"comment": decider.comment} if decider.comment is not None else {}
        output |= {"metadata": dict(decider.metadata)} if decider.metadata is not None else {}
    key = decision.get("output")
    return {key: output} if key else output
