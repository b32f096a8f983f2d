"""Writing one decision down: moves, attempts, counters, what needs a person, audit and signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Unpack

from ..definition.values import JsonObject
from ..errors import ErrorRecord
from .changes import Changes, NewAttempt, NewAuditEvent, NewDispatch, RunColumns, StepColumns
from .facts import Decider, DecisionState, Performed, StepFact, entered, step_after
from .kept_decisions import DecisionKind
from .moves import check_move, check_step_move
from .transitions import TERMINAL, AttemptStatus, Needs, RunStatus, StepStatus

FAILURES: Final = ("compensation_failed", "failed")
NEEDS_BY_DECISION: Mapping[DecisionKind, Needs] = {
    "interrupted": "interrupted",
    "incident": "incident",
    "approval": "decision",
    "pause": "resume",
}
"""What a run needs of people for each kind of open decision, the most pressing first."""


class Tally:
    """The changes of one decision about one run, and the counters that say which status follows.

    status: the run's, as decided so far.
    """

    def __init__(self, state: DecisionState) -> None:
        self.spec, self.run, self.now, self.new_id, self.context = state
        self.changes = Changes()
        self.status: RunStatus = self.run.status
        self.open, self.retrying, self.needs = self.run.open_steps, self.run.retrying_steps, self.run.needs_count

    @property
    def ends_unfinished(self) -> bool:
        """Whether this decision ends the run, and not because all is done."""
        return self.status in ("failed", "cancelled") and self.run.status not in TERMINAL

    @property
    def position(self) -> int:
        """How many outputs the run has, as decided so far."""
        return self.changes.run.get("position", self.run.position)

    @property
    def compensation(self) -> str | None:
        """How far the run's compensations are, as decided so far."""
        return self.changes.run.get("compensation", self.run.compensation)

    def move(self, to: RunStatus, **columns: Unpack[RunColumns]) -> None:
        """Have the run go to the status, where it may. columns: what else changes of it then."""
        if to != self.status:
            check_move(self.run, self.status, to)
            self.status = self.changes.run["status"] = to
        self.changes.run.update(columns)

    def set(self, **columns: Unpack[RunColumns]) -> None:
        """Set columns of the run."""
        self.changes.run.update(columns)

    def move_step(self, row: StepFact, to: StepStatus, **columns: Unpack[StepColumns]) -> None:
        """Have the step run go to the status, where it may."""
        changed = self.changes.updated.setdefault(row.id, {})
        current = changed.get("status", row.status)
        if to != current:
            check_step_move(row, current, to)
        changed["status"] = to
        changed.update(columns)

    def close(self, visit: StepFact, to: StepStatus, **columns: Unpack[StepColumns]) -> None:
        """Have the step run end, and its dispatch with it."""
        self.move_step(visit, to, **columns)
        changed = self.changes.updated[visit.id]
        changed["finished_at"], changed["due_at"] = self.now, None
        self.changes.ended.append(visit.id)

    def leave(self, visit: StepFact) -> None:
        """The step run can no longer go on by itself."""
        if visit.kind == "step":
            self.open -= 1
            if visit.waits_for_retry:
                self.retrying -= 1

    def end_attempt(
        self, visit: StepFact, performed: Performed, status: AttemptStatus, reason: ErrorRecord | None = None
    ) -> None:
        """Write the attempt down, and tell of it."""
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

    def record_output(self, visit: StepFact) -> None:
        """The visit's output is the newest of the run."""
        position = self.run.position + 1
        self.changes.run["position"] = position
        self.changes.updated[visit.id]["position"] = position

    def dispatch(self, row: StepFact) -> None:
        """Have the step run performed now."""
        self.changes.dispatched.append(NewDispatch(step_run_id=row.id, kind=row.kind, step=row.step, due_at=self.now))
        if row.kind == "step":
            self.open += 1

    def audit(
        self,
        type: str,
        visit: StepFact | None = None,
        *,
        decider: Decider | None = None,
        metadata: JsonObject | None = None,
    ) -> None:
        """Write a line for the audit. metadata: unless a person has said some."""
        step, number = (visit.step, visit.visit) if visit else (None, None)
        event = NewAuditEvent(type=type, step=step, visit=number, metadata=metadata)
        if decider is not None:
            event.actor, event.comment, event.metadata = decider.actor, decider.comment, decider.metadata
        self.changes.audit.append(event)

    def tell_of(self, event: str, decider: Decider, visit: StepFact | None = None) -> None:
        """Send the signal that a person did something, to the run as a whole or at a visit."""
        place = {"step": visit.step, "visit": visit.visit} if visit else {}
        said = {"actor": decider.actor, "comment": decider.comment, "metadata": decider.metadata}
        self.changes.notice("manual_action_taken", action=event, **place, **said)

    def restate_needs(self, noted: bool = False) -> None:
        """Say what is still open once a decision was taken. noted: whether somebody has taken note of the failure."""
        failed = self.run.needs if self.run.needs in FAILURES and not noted else None
        self.clear_needs()
        if failed:
            self.need(failed, since=self.run.needs_since)
        for row in self.context.decisions:
            self.need(
                NEEDS_BY_DECISION.get(row.asks or "interrupted", "interrupted"), due=row.decide_by, since=row.asked_at
            )

    def need(self, kind: str, *, due: datetime | None = None, since: datetime | None = None) -> None:
        """The run needs a person for one thing more."""
        run = self.changes.run
        dues = [when for when in (run.get("needs_due_at", self.run.needs_due_at), due) if when is not None]
        ranked = (*FAILURES, *NEEDS_BY_DECISION.values())
        present = run.get("needs", self.run.needs)
        self.needs += not (kind in FAILURES and present in FAILURES)
        run["needs"] = min((word for word in (present, kind) if word), key=ranked.index)
        run["needs_count"] = self.needs
        run["needs_due_at"] = min(dues, default=None) if kind not in FAILURES else None
        began = [when for when in (run.get("needs_since", self.run.needs_since), since) if when is not None]
        run["needs_since"] = min(began, default=self.now)

    def clear_needs(self) -> None:
        """The run needs nobody."""
        self.needs = 0
        self.set(needs=None, needs_count=0, needs_due_at=None, needs_since=None)

    def count(self) -> None:
        """Write the counters."""
        self.set(open_steps=self.open, retrying_steps=self.retrying)

    def settle(self) -> None:
        """Let the counters say what status the run has."""
        self.count()
        if self.status in TERMINAL:
            return
        if self.status == "cancelling":
            if self.open == 0 and self.needs == 0:
                self.move("cancelled", current_step=None, finished_at=self.now)
        elif self.open == 0 and self.needs:
            self.move("paused")
        elif self.open and self.retrying == self.open:
            self.move("retrying")
        elif self.run.status != "pending" or self.run.started_at:
            self.move("running")
            if self.spec.style == "dependency" and not (self.needs or self.retrying):
                self.changes.run["current_step"] = None

    def as_left(self, rows: Sequence[StepFact]) -> list[StepFact]:
        """The visits as this decision leaves them. rows: the step runs as they were read."""
        updated = self.changes.updated
        known = [step_after(row, updated[row.id]) if row.id in updated else row for row in rows if row.kind == "step"]
        made = [entered(self.run.id, row) for row in self.changes.entered if row.kind == "step"]
        return known + made
