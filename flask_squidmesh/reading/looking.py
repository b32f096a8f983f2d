"""One run with all that a page says of it, of one moment and read once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from ..errors import RunNotFoundError
from ..store.scope import Scope
from ..store.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..store.tables import Dispatch
from ..store.tables import Run as RunRow
from ..workflow.registry import Registry
from .audit import AuditWindow, window_of
from .explanation import explanation_of
from .graph import graph_of
from .inbox import open_in
from .inspection import run_of
from .records import Record, read_record, run_id_of
from .states import seen_by
from .views import DecisionView, Explanation, Graph, Run, StepRunView
from .words import OVERDUE, is_overdue, moments, word_of

AUDIT_EVENTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A run with its history, why it is where it is, and the word that operators have for that.

    decisions: those that are open, the most urgent first. audit: as much of it as was asked for.
    """

    run: Run
    explanation: Explanation
    word: str
    record: Record
    decisions: tuple[DecisionView, ...] = ()
    audit: AuditWindow

    def graph(self) -> Graph:
        """The run's workflow as nodes and edges."""
        return graph_of(self.record)

    def state_of(self, step_run: StepRunView) -> dict[str, Any] | None:
        """The state that a visit saw; None for a compensation, and where its step is not declared now."""
        return next((seen_by(self.record, row) for row in self.record.step_runs if row["id"] == step_run.id), None)


def look(
    connection: sa.Connection,
    registry: Registry,
    scope: Scope,
    run_id: UUID | str,
    *,
    now: datetime,
    claim_timeout: float,
    audit_before: int | None = None,
    audit_events: int | None = AUDIT_EVENTS,
) -> Look:
    """Everything about a run, but of its audit only the newest events. Six queries. Raises RunNotFoundError.

    audit_before: the id of an event; those before it in place of the newest. audit_events: how many, None for all.
    """
    record = read_record(connection, registry, scope, run_id)
    audit = window_of(connection, scope, record.run["id"], before=audit_before, most=audit_events)
    run = run_of(connection, scope, record, include_history=True, audit=audit)
    stuck = any(is_overdue(dispatch, now) for dispatch in record.dispatches.values())
    return Look(
        run=run,
        explanation=explanation_of(record, now=now, claim_timeout=claim_timeout),
        word=word_of(run, now, stuck=stuck),
        record=record,
        decisions=open_in(record.step_runs, now),
        audit=audit,
    )


def glimpse(connection: sa.Connection, scope: Scope, run_id: UUID | str, *, now: datetime) -> tuple[RunSummary, str]:
    """The run in one line, with the word for its state. One query. Raises RunNotFoundError."""
    stuck = sa.exists().where(Dispatch.run_id == RunRow.id, OVERDUE)
    found = (RunRow.id == run_id_of(run_id), *scope.within(RunRow))
    query = sa.select(*SUMMARY_COLUMNS, stuck.label("stuck")).where(*found)
    row = connection.execute(query, moments(now)).mappings().one_or_none()
    if row is None:
        raise RunNotFoundError(run_id)
    run = summary_of(row)
    return run, word_of(run, now, stuck=row["stuck"])
