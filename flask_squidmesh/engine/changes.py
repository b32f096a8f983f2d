"""What deciding answers with: rows to write, signals to send once they are committed, and what it had to read first.

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
from .kept_decisions import DecisionKept
from .transitions import AttemptStatus, RunStatus, StepStatus

RowsToRead = Literal["open", "completed", "all"]
"""Step runs of a run that deciding may ask for: visits that have not ended, visits that completed, or all, because what
the run counts cannot be of the definition that is deployed."""


class RunColumns(TypedDict, total=False):
    """Columns of a run that a decision sets."""

    status: RunStatus
    current_step: str | None
    position: int
    remaining: int
    open_steps: int
    retrying_steps: int
    needs: str | None
    needs_count: int
    needs_due_at: datetime | None
    needs_since: datetime | None
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
    """A visit or a compensation to insert, due at `due_at`, or at once. delivered: whether it gets a dispatch.
    claimed: whether the deliverer of the step before goes on with it."""

    id: str
    kind: str
    step: str
    visit: int
    status: StepStatus
    sees: int
    settings: VisitSettings
    missing: int = 0
    failure: ErrorRecord | None = None
    decision: DecisionKept | None = None
    decide_by: datetime | None = None
    due_at: datetime | None = None
    delivered: bool = True
    claimed: bool = False


@dataclass(slots=True, kw_only=True)
class NewDispatch:
    """Work to deliver for a step run that exists already."""

    step_run_id: str
    kind: str
    step: str
    due_at: datetime


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
    """A line for the audit."""

    type: str
    step: str | None = None
    visit: int | None = None
    actor: JsonValue = None
    comment: str | None = None
    metadata: JsonObject | None = None


@dataclass(slots=True, kw_only=True)
class PendingSignal:
    """A signal to send after the commit: its name in `signals`, and what it says beside the run's own facts."""

    signal: str
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """Everything one decision changes. `run` holds columns of the run; `updated` columns by step run id;
    `ended` the step runs whose dispatch goes away, `released` those whose claim ends and when they are due again,
    `freed` those whose lost claim is taken away and their place in the queue, `left` those that ended and why what
    follows is for a process of another version to decide.

    reads: what has to be read for the decision to be whole; until then nothing of it holds.
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
    audit: list[NewAuditEvent] = field(default_factory=list)
    notices: list[PendingSignal] = field(default_factory=list)
    reads: Sequence[RowsToRead] = ()

    def update(self, step_run_id: str, **columns: Unpack[StepColumns]) -> None:
        """Set columns of a step run that exists."""
        self.updated.setdefault(step_run_id, {}).update(columns)

    def notice(self, signal: str, **data: object) -> None:
        """Send the signal after the commit."""
        self.notices.append(PendingSignal(signal=signal, data=data))
