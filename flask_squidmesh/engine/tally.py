"""Writing one decision down: attempts, counters, what needs a person, audit and signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ..definition.spec import WorkflowSpec
from .facts import (
    Changes,
    Decider,
    DecisionContext,
    NewAttempt,
    NewAuditEvent,
    NewDispatch,
    Performed,
    RunFact,
    StepFact,
)
from .moves import check_move, check_step_move
from .transitions import TERMINAL, Needs, RunStatus, StepStatus

FAILURES = ("compensation_failed", "failed")
NEEDS_BY_DECISION: Mapping[str, Needs] = {
    "interrupted": "interrupted",
    "incident": "incident",
    "approval": "decision",
    "pause": "resume",
}
"""What a run needs of people for each kind of open decision, the most pressing first."""


class Tally:
    """The changes of one decision about one run, and the counters that say which status follows.

    status: the run's, as decided so far. at_odds: whether the counters cannot be of the definition that is deployed,
    so that nothing may follow from them.
    """

    def __init__(
        self,
        spec: WorkflowSpec,
        run: RunFact,
        *,
        now: datetime,
        new_id: Callable[[], str],
        around: DecisionContext | None = None,
    ) -> None:
        self.spec, self.run, self.now, self.new_id = spec, run, now, new_id
        self.around = around or DecisionContext()
        self.changes = Changes()
        self.status: RunStatus = run.status
        self._open, self._retrying, self._needs = run.open_steps, run.retrying_steps, run.needs_count
        self._error = run.error
        self.at_odds = False

    def _move(self, to: RunStatus, **columns: Any) -> None:
        """Have the run go to the status, where it may. columns: what else changes of it then."""
        if to != self.status:
            check_move(self.run, self.status, to)
            self.status = self.changes.run["status"] = to
        self.changes.run.update(columns)

    def _move_step(self, row: StepFact, to: StepStatus, **columns: Any) -> None:
        """Have the step run go to the status, where it may."""
        changed = self.changes.updated.setdefault(row.id, {})
        current = changed.get("status", row.status)
        if to != current:
            check_step_move(row, current, to)
        changed["status"] = to
        changed.update(columns)

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

    def _close(self, visit: StepFact, status: StepStatus, **columns: Any) -> None:
        self._move_step(visit, status, finished_at=self.now, due_at=None, **columns)
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

    def _audit(self, type: str, visit: StepFact | None = None, **said: Any) -> None:
        step, number = (visit.step, visit.visit) if visit else (None, None)
        self.changes.audit.append(NewAuditEvent(type=type, step=step, visit=number, **said))

    def _told(self, event: str, decider: Decider) -> None:
        """A person did something to the run as a whole."""
        said = {"actor": decider.actor, "comment": decider.comment, "metadata": decider.metadata}
        self._audit(event, **said)
        self.changes.notice("manual_action_taken", action=event, **said)

    def _restate_needs(self, noted: bool = False) -> None:
        """Say what is still open once a decision was taken. noted: whether somebody has taken note of the failure."""
        failed = self.run.needs if self.run.needs in FAILURES and not noted else None
        self._clear_needs()
        if failed:
            self._need(failed, since=self.run.needs_since)
        for row in self.around.decisions:
            kind = str((row.decision or {}).get("kind"))
            self._need(NEEDS_BY_DECISION.get(kind, "interrupted"), due=row.decide_by, since=row.asked_at)

    def _need(self, kind: str, *, due: datetime | None = None, since: datetime | None = None) -> None:
        run = self.changes.run
        dues = [when for when in (run.get("needs_due_at", self.run.needs_due_at), due) if when is not None]
        ranked = (*FAILURES, *NEEDS_BY_DECISION.values())
        present = run.get("needs", self.run.needs)
        self._needs += not (kind in FAILURES and present in FAILURES)
        run["needs"] = min((word for word in (present, kind) if word), key=ranked.index)
        run["needs_count"] = self._needs
        run["needs_due_at"] = min(dues, default=None) if kind not in FAILURES else None
        began = [when for when in (run.get("needs_since", self.run.needs_since), since) if when is not None]
        run["needs_since"] = min(began, default=self.now)

    def _clear_needs(self) -> None:
        self._needs = 0
        self.changes.run.update(needs=None, needs_count=0, needs_due_at=None, needs_since=None)

    def _count(self) -> None:
        self.changes.run.update(open_steps=self._open, retrying_steps=self._retrying)

    def _settle(self) -> None:
        """Let the counts say what status the run has."""
        self._count()
        if self.status in TERMINAL:
            return
        if self.status == "cancelling":
            if self._open == 0 and self._needs == 0:
                self._move("cancelled", current_step=None, finished_at=self.now)
        elif self._open == 0 and self._needs:
            self._move("paused")
        elif self._open and self._retrying == self._open:
            self._move("retrying")
        elif self.run.status != "pending" or self.run.started_at:
            self._move("running")
            if self.spec.style == "dependency" and not (self._needs or self._retrying):
                self.changes.run["current_step"] = None
