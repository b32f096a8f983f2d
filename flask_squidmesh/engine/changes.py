"""What deciding answers with: rows to write and signals to send once they are committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(slots=True, kw_only=True)
class NewStepRun:
    """A visit or a compensation to insert, due at `due_at`, or at once. delivered: whether it gets a dispatch.
    claimed: whether the deliverer of the step before goes on with it."""

    id: str
    kind: str
    step: str
    visit: int
    status: str
    sees: int
    settings: Mapping[str, Any]
    missing: int = 0
    failure: Mapping[str, Any] | None = None
    decision: Mapping[str, Any] | None = None
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
    status: str
    worker: str | None
    error: Mapping[str, Any] | None
    started_at: datetime
    finished_at: datetime


@dataclass(slots=True, kw_only=True)
class NewAuditEvent:
    """A line for the audit."""

    type: str
    step: str | None = None
    visit: int | None = None
    actor: Any = None
    comment: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(slots=True, kw_only=True)
class Notice:
    """A signal to send after the commit: its name in `signals`, and what it says beside the run's own facts."""

    signal: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """Everything one decision changes. `run` holds columns of the run; `updated` columns by step run id;
    `ended` the step runs whose dispatch goes away, `released` those whose claim ends and when they are due again,
    `left` those that ended and why what follows is for a process of another version to decide."""

    run: dict[str, Any] = field(default_factory=dict)
    entered: list[NewStepRun] = field(default_factory=list)
    updated: dict[str, dict[str, Any]] = field(default_factory=dict)
    attempts: list[NewAttempt] = field(default_factory=list)
    dispatched: list[NewDispatch] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    released: dict[str, datetime] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    audit: list[NewAuditEvent] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def update(self, step_run_id: str, **columns: Any) -> None:
        """Set columns of a step run that exists."""
        self.updated.setdefault(step_run_id, {}).update(columns)

    def notice(self, signal: str, **data: Any) -> None:
        """Send the signal after the commit."""
        self.notices.append(Notice(signal=signal, data=data))
