"""What deciding returns: rows to write, signals to send after the commit, and rows that have to be read first.

Columns that no decision sets stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypedDict, Unpack

from ..definition.spec import VisitSettings
from ..definition.values import JsonObject, JsonValue
from ..errors import ErrorRecord
from ..notices import NoticeKind
from .kept_decisions import DecisionKept, DecisionKind, EventKept, ReminderKept
from .transitions import AttemptStatus, RunStatus, StepStatus

RowsToRead = Literal["open", "completed", "all"]
"""Step runs that deciding may ask for: visits that have not ended, visits that completed, or all, which it needs where
the run's counters do not fit the deployed definition."""


class RunColumns(TypedDict, total=False):
    """Columns of a run that a decision sets."""

    status: RunStatus
    outcome: str | None
    diversion: str | None
    current_step: str | None
    position: int
    remaining: int
    open_steps: int
    retrying_steps: int
    awaiting_steps: int
    needs: str | None
    needs_count: int
    needs_due_at: datetime | None
    needs_since: datetime | None
    overdue_since: datetime | None
    compensation: str | None
    error: ErrorRecord | None
    error_fingerprint: str | None
    attempt: int
    max_attempts: int
    due_at: datetime | None
    started_at: datetime
    finished_at: datetime
    cancelled_at: datetime
    acknowledged_at: datetime
    replayed_as_id: str
    follows: str
    follows_since: datetime
    redefined: int
    deadline_at: datetime | None


class StepColumns(TypedDict, total=False):
    """Columns of a step run that a decision sets."""

    status: StepStatus
    step: str
    sees: int
    position: int
    missing: int
    attempts: int
    abandoned: int
    settings: VisitSettings
    decision: DecisionKept | None
    manual: JsonObject
    recovery: str
    input: JsonObject | None
    output: JsonObject
    error: ErrorRecord | None
    due_at: datetime | None
    decide_by: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(slots=True, kw_only=True)
class NewStepRun:
    """A visit or a compensation to insert, due at `due_at`, or at once.

    delivered: whether it gets a dispatch. claimed: whether the worker that performed the step before goes on with it.
    """

    id: str
    kind: str
    step: str
    visit: int
    status: StepStatus
    sees: int
    settings: VisitSettings
    missing: int = 0
    failure: ErrorRecord | None = None
    error: ErrorRecord | None = None
    decision: DecisionKept | None = None
    decide_by: datetime | None = None
    due_at: datetime | None = None
    delivered: bool = True
    claimed: bool = False


@dataclass(slots=True, kw_only=True)
class NewDispatch:
    """A dispatch to insert for a step run that exists."""

    step_run_id: str
    kind: str
    step: str
    due_at: datetime


@dataclass(slots=True, kw_only=True)
class NewWait:
    """A wait that opens at a visit: whose it is, by when they have to answer, and when something happens at it by
    itself. awaits: the event, of a wait for one."""

    step_run_id: str
    step: str
    kind: DecisionKind
    assignee: str | None
    groups: Sequence[str]
    due_at: datetime | None
    timer_at: datetime | None
    awaits: EventKept | None = None


@dataclass(slots=True, kw_only=True)
class WaitHandedOn:
    """Whose an open wait becomes. further: the groups that join those whose it is."""

    assignee: str | None
    further: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class NewAttempt:
    """An attempt that ended."""

    step_run_id: str
    number: int
    status: AttemptStatus
    worker: str | None
    error: ErrorRecord | None
    started_at: datetime
    finished_at: datetime


@dataclass(slots=True, kw_only=True)
class NewAuditEvent:
    """An audit event to insert."""

    type: str
    step: str | None = None
    visit: int | None = None
    actor: JsonValue = None
    comment: str | None = None
    metadata: JsonObject | None = None


@dataclass(slots=True, kw_only=True)
class NewNotice:
    """Something that whoever has subscribed to its kind is told. step_run_id, step, visit: where it happened."""

    kind: NoticeKind
    step_run_id: str | None = None
    step: str | None = None
    visit: int | None = None
    data: JsonObject | None = None


@dataclass(slots=True, kw_only=True)
class PendingSignal:
    """A signal to send after the commit: its name in `signals`, and what it says beside the run's own facts."""

    signal: str
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """Everything one decision changes.

    run: columns of the run. updated: columns of step runs, by id. ended: step runs whose dispatch is deleted.
    released: step runs whose claim ends, with the time when they are due again. freed: step runs whose lost claim is
    taken away, with their place in the queue. left: visits that ended, with the reason why what follows is for a
    process of another version to decide. opened, handed_on, settled: waits, by visit, that open, become
    somebody else's, or end. renamed: waits whose step is called otherwise by now. timed: waits with the time when
    something happens next at them by itself. reminded: visits with what people are told of them if they take long;
    unreminded: visits of which nothing is told any more. told: what subscribers are told. begins_at: when a run begins
    that has not begun. reads: rows that have to be read before this can be decided; while there are any, nothing else
    of this is to be written.
    """

    run: RunColumns = field(default_factory=RunColumns)
    entered: list[NewStepRun] = field(default_factory=list)
    updated: dict[str, StepColumns] = field(default_factory=dict)
    attempts: list[NewAttempt] = field(default_factory=list)
    dispatched: list[NewDispatch] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    released: dict[str, datetime] = field(default_factory=dict)
    freed: dict[str, datetime] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    opened: list[NewWait] = field(default_factory=list)
    handed_on: dict[str, WaitHandedOn] = field(default_factory=dict)
    settled: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    timed: dict[str, datetime] = field(default_factory=dict)
    reminded: dict[str, list[ReminderKept]] = field(default_factory=dict)
    unreminded: list[str] = field(default_factory=list)
    audit: list[NewAuditEvent] = field(default_factory=list)
    notices: list[PendingSignal] = field(default_factory=list)
    told: list[NewNotice] = field(default_factory=list)
    begins_at: datetime | None = None
    reads: Sequence[RowsToRead] = ()

    def update(self, step_run_id: str, **columns: Unpack[StepColumns]) -> None:
        """Set columns of a step run that exists."""
        self.updated.setdefault(step_run_id, {}).update(columns)

    def notice(self, signal: str, **data: object) -> None:
        """Send the signal after the commit."""
        self.notices.append(PendingSignal(signal=signal, data=data))
