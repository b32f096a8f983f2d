"""The record of one decision: moves, attempts, counters, what needs a person, audit events and signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Unpack

from ..definition.values import JsonObject
from ..errors import ErrorRecord
from ..notices import NoticeKind
from .changes import (
    Changes,
    NewAttempt,
    NewAuditEvent,
    NewDispatch,
    NewNotice,
    NewStepRun,
    NewWait,
    RunColumns,
    StepColumns,
)
from .diversions import Diversion, diverted, is_of
from .facts import Decider, DecisionState, Performed, StepFact, entered, step_after
from .kept_decisions import LISTED, DecisionKept, DecisionKind
from .moves import check_move, check_step_move
from .transitions import TERMINAL, AttemptStatus, Needs, RunStatus, StepStatus
from .waits import next_timer

FAILURES: Final = ("compensation_failed", "failed")
NEEDS_BY_DECISION: Mapping[DecisionKind, Needs] = {
    "interrupted": "interrupted",
    "incident": "incident",
    "approval": "decision",
    "decision": "decision",
    "pause": "resume",
}
"""What a run needs people for, by kind of open decision, the most urgent first."""
_ENDED: Final[Mapping[str, NoticeKind]] = {
    "completed": "run.completed",
    "failed": "run.failed",
    "cancelled": "run.cancelled",
}


class Tally:
    """The changes of one decision about one run, whose status, counters and other columns are set here alone.

    status, open_steps, retrying_steps, awaiting_steps, needs_count: of the run, as decided so far; see `settle`.
    """

    def __init__(self, state: DecisionState) -> None:
        self.spec, self.run, self.now, self.new_id, self.context = state
        self.changes = Changes()
        self.status: RunStatus = self.run.status
        self.open_steps, self.retrying_steps = self.run.open_steps, self.run.retrying_steps
        self.awaiting_steps, self.needs_count = self.run.awaiting_steps, self.run.needs_count
        self._ends_timed = False

    @property
    def halts(self) -> bool:
        """Whether this decision fails or cancels the run, or completes it and has its steps undone."""
        if self.run.status in TERMINAL:
            return False
        undone = self.status == "completed" and self.compensation == "requested"
        return undone or self.status in ("failed", "cancelled")

    @property
    def position(self) -> int:
        """How many outputs the run has, as decided so far."""
        return self.changes.run.get("position", self.run.position)

    @property
    def compensation(self) -> str | None:
        """How far compensating the run has come, as decided so far."""
        return self.changes.run.get("compensation", self.run.compensation)

    @property
    def diversion(self) -> str | None:
        """What led the run off its way, as decided so far."""
        return self.changes.run.get("diversion", self.run.diversion)

    def divert(self, how: Diversion, step: str) -> None:
        """Record that a rejection, a time-out or an error route leads on."""
        self.set_run(diversion=diverted(how, step))

    def end_diversion(self, step: str) -> None:
        """Record that the step has ended well."""
        if is_of(self.diversion, step):
            self.set_run(diversion=None)

    def move_run(self, to: RunStatus, **columns: Unpack[RunColumns]) -> None:
        """Move the run to the status, and set the other columns.

        Raises:
            ImpossibleMoveError: The table of transitions has no such move.
        """
        if to != self.status:
            check_move(self.run, self.status, to)
            self.status = self.changes.run["status"] = to
            if (ended := _ENDED.get(to)) is not None:
                self.tell(ended)
        self.changes.run |= columns

    def set_run(self, **columns: Unpack[RunColumns]) -> None:
        """Set columns of the run."""
        self.changes.run |= columns

    def move_step(self, row: StepFact, to: StepStatus, **columns: Unpack[StepColumns]) -> None:
        """Move the step run to the status, and set the other columns.

        Raises:
            ImpossibleMoveError: The table of transitions has no such move.
        """
        changed = self.changes.updated.setdefault(row.id, {})
        current = changed.get("status", row.status)
        if to != current:
            check_step_move(row, current, to)
        changed["status"] = to
        changed |= columns

    def close(self, visit: StepFact, to: StepStatus, **columns: Unpack[StepColumns]) -> None:
        """End the step run, and remove its dispatch."""
        self.move_step(visit, to, **columns)
        changed = self.changes.updated[visit.id]
        changed["finished_at"], changed["due_at"] = self.now, None
        self.changes.ended.append(visit.id)
        if visit.decision is not None and visit.asks in LISTED:
            self._settle_wait(visit.id)
        elif visit.decide_by is not None:
            self.forget_reminders(visit)

    def _settle_wait(self, step_run_id: str) -> None:
        """Take the visit's wait away; one that this decision has opened was never there."""
        self._untell(step_run_id)
        opened = [each for each in self.changes.opened if each.step_run_id != step_run_id]
        if len(opened) == len(self.changes.opened):
            self.changes.settled.append(step_run_id)
        self.changes.opened = opened

    def forget_reminders(self, visit: StepFact) -> None:
        """Tell nobody any more that the step takes long."""
        self._ends_timed = True
        if self.changes.reminded.pop(visit.id, None) is None:
            self.changes.unreminded.append(visit.id)

    def open_wait(self, step_run_id: str, step: str, decision: DecisionKept, decide_by: datetime | None) -> None:
        """Record whose the wait of a visit is, and when something happens at it by itself."""
        self.changes.opened.append(
            NewWait(
                step_run_id=step_run_id,
                step=step,
                kind=decision["kind"],
                assignee=decision.get("assignee"),
                groups=decision.get("groups") or (),
                due_at=decide_by,
                timer_at=next_timer(decision),
                awaits=decision.get("awaits"),
            )
        )

    def end_wait(self, visit: StepFact, by: str | None = None) -> None:
        """Record how long was waited, as an attempt. by: what ended the wait, where nobody did."""
        began = visit.asked_at or self.now
        self.end_attempt(visit, Performed(number=visit.attempts + 1, worker=by, started_at=began), "completed")
        if visit.attempts:
            self.changes.update(visit.id, attempts=visit.attempts + 1)
        self.restate_needs()

    def drop(self, step_run_id: str) -> None:
        """Take back a visit that this decision has made."""
        changes = self.changes
        changes.entered = [each for each in changes.entered if each.id != step_run_id]
        changes.opened = [each for each in changes.opened if each.step_run_id != step_run_id]
        changes.reminded.pop(step_run_id, None)
        self._untell(step_run_id)

    def leave(self, visit: StepFact) -> None:
        """Take the step run off the counters of open steps, as it has ended or waits for a person."""
        if visit.kind == "step":
            self.open_steps -= 1
            if visit.waits_for_retry:
                self.retrying_steps -= 1
            elif visit.awaits_event:
                self.awaiting_steps -= 1

    def end_attempt(
        self, visit: StepFact, performed: Performed, status: AttemptStatus, reason: ErrorRecord | None = None
    ) -> None:
        """Record how the attempt ended, and signal it."""
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
        """Give the visit's output the next position in the run's state."""
        position = self.position + 1
        self.set_run(position=position)
        self.changes.updated[visit.id]["position"] = position

    def dispatch(self, row: StepFact) -> None:
        """Dispatch a step run that exists, due now."""
        self.changes.dispatched.append(NewDispatch(step_run_id=row.id, kind=row.kind, step=row.step, due_at=self.now))
        if row.kind == "step":
            self.open_steps += 1

    def audit(self, event: str, visit: StepFact, *, metadata: JsonObject) -> None:
        """Audit what happened at a visit without a person's doing."""
        self.changes.audit.append(NewAuditEvent(type=event, step=visit.step, visit=visit.visit, metadata=metadata))

    def audit_call(self, event: str, decider: Decider, visit: StepFact | None = None) -> None:
        """Audit a control call on the run or on a visit, with what the person said."""
        step, number = (visit.step, visit.visit) if visit else (None, None)
        self.changes.audit.append(
            NewAuditEvent(
                type=event,
                step=step,
                visit=number,
                actor=decider.actor,
                comment=decider.comment,
                metadata=decider.metadata,
            )
        )

    def tell_of(self, event: str, decider: Decider, visit: StepFact | None = None) -> None:
        """Signal a control call on the run or on a visit."""
        place = {"step": visit.step, "visit": visit.visit} if visit else {}
        said = {"actor": decider.actor, "comment": decider.comment, "metadata": decider.metadata}
        self.changes.notice("manual_action_taken", action=event, **place, **said)

    def tell(self, kind: NoticeKind, at: StepFact | NewStepRun | None = None, data: JsonObject | None = None) -> None:
        """Tell subscribers. at: the visit where it happened; None where it is of the run as a whole."""
        told = NewNotice(kind=kind, data=data)
        if at is not None:
            told.step_run_id, told.step, told.visit = at.id, at.step, at.visit
        self.changes.told.append(told)

    def _untell(self, step_run_id: str) -> None:
        """Tell nobody that a wait has opened which this decision ends."""
        told = self.changes.told
        self.changes.told = [each for each in told if each.step_run_id != step_run_id or each.kind != "decision.opened"]

    def restate_needs(self, noted: bool = False) -> None:
        """Work out what the run still needs people for, after a control call.

        noted: whether somebody has taken note of the run's failure, which then needs nobody any more.
        """
        failed = self.run.needs if self.run.needs in FAILURES and not noted else None
        self.clear_needs()
        if failed:
            self.need(failed, since=self.run.needs_since)
        for row in self.context.decisions:
            self.need_decision(row.asks or "interrupted", due=row.decide_by, since=row.asked_at)

    def need_decision(self, kind: DecisionKind, *, due: datetime | None = None, since: datetime | None = None) -> None:
        """Record one more open decision that the run needs a person for."""
        self.need(NEEDS_BY_DECISION.get(kind, "interrupted"), due=due, since=since)

    def need(self, kind: str, *, due: datetime | None = None, since: datetime | None = None) -> None:
        """Record one more thing that the run needs a person for. since: when that began; None for now."""
        run = self.changes.run
        dues = [when for when in (run.get("needs_due_at", self.run.needs_due_at), due) if when is not None]
        ranked = (*FAILURES, *NEEDS_BY_DECISION.values())
        present = run.get("needs", self.run.needs)
        self.needs_count += not (kind in FAILURES and present in FAILURES)
        run["needs"] = min((word for word in (present, kind) if word), key=ranked.index)
        run["needs_count"] = self.needs_count
        run["needs_due_at"] = min(dues, default=None) if kind not in FAILURES else None
        began = [when for when in (run.get("needs_since", self.run.needs_since), since) if when is not None]
        run["needs_since"] = min(began, default=self.now)

    def clear_needs(self) -> None:
        """Record that the run needs nobody."""
        self.needs_count = 0
        self.set_run(needs=None, needs_count=0, needs_due_at=None, needs_since=None)

    def write_counters(self) -> None:
        """Set the columns of the run that count its steps."""
        run = self.changes.run
        run["open_steps"], run["retrying_steps"] = self.open_steps, self.retrying_steps
        if self.awaiting_steps != self.run.awaiting_steps or "awaiting_steps" in run:
            run["awaiting_steps"] = self.awaiting_steps

    def settle(self) -> None:
        """Set the counters of the run and the status that follows from them, where the run has not ended."""
        self.write_counters()
        if self.run.overdue_since is not None:
            self._restate_overdue()
        if self.status in TERMINAL:
            return
        if self.status == "cancelling":
            if self.open_steps == 0 and self.needs_count == 0:
                self.move_run("cancelled", current_step=None, finished_at=self.now)
        elif self.open_steps == 0 and self.needs_count:
            self.move_run("paused")
        elif self.open_steps and self.retrying_steps == self.open_steps:
            self.move_run("retrying")
        elif self.run.status != "pending" or self.run.started_at:
            self.move_run("running")
            if self.spec.style == "dependency" and not (self.needs_count or self.retrying_steps):
                self.set_run(current_step=None)

    def _restate_overdue(self) -> None:
        """Work out since when a step is late, where one has ended that was; or ask for rows to read."""
        if self.status in TERMINAL or (self._ends_timed and self.spec.style == "flow"):
            self.set_run(overdue_since=None)
        elif self._ends_timed and not self.changes.reads:
            adoption = self.context.adoption
            rows = self.context.read.get("open") if adoption is None else adoption.rows
            if rows is None:
                self.changes.reads = ("open",)
                return
            going = [row for row in self.as_left(rows) if row.timed and row.status in ("pending", "running", "paused")]
            late = [row.decide_by for row in going if row.decide_by is not None and row.decide_by <= self.now]
            self.set_run(overdue_since=min(late, default=None))

    def as_left(self, rows: Sequence[StepFact]) -> list[StepFact]:
        """Return the visits as this decision leaves them, those it makes included. rows: the step runs as read."""
        updated = self.changes.updated
        known = [step_after(row, updated[row.id]) if row.id in updated else row for row in rows if row.kind == "step"]
        made = [entered(self.run.id, row) for row in self.changes.entered if row.kind == "step"]
        return known + made
