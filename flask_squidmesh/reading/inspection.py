"""One run in full."""

from __future__ import annotations

from dataclasses import fields
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from ..engine.actions import decision_token, open_decisions
from ..store import tables
from ..store.summaries import RunSummary, summary_of
from ..workflow.registry import Registry
from .audit import events_of
from .records import Record, read_record, step_facts
from .states import merged_outputs
from .steps import step_run_views, step_views
from .timeline import timeline
from .views import Run


def inspect(connection: sa.Connection, registry: Registry, run_id: UUID | str, *, include_history: bool = False) -> Run:
    """The run, with include_history also its steps, step runs, attempts and audit events.

    Raises RunNotFoundError, for what is no id too.
    """
    record = read_record(connection, registry, run_id)
    history: dict[str, Any] = {}
    if include_history:
        audit_events = events_of(connection, record.run["id"])
        history = {
            "steps": step_views(record),
            "step_runs": step_run_views(record),
            "audit_events": audit_events,
            "timeline": timeline(record, audit_events),
        }
    return Run(
        **_summary_values(summary_of(record.run)),
        payload=record.run["payload"],
        context=merged_outputs(record.visits),
        schedule=record.run["schedule"],
        last_error=record.run["error"],
        fingerprint=record.run["fingerprint"],
        decision=_decision(record),
        children=_children(connection, record.run["id"]),
        **history,
    )


def _summary_values(summary: RunSummary) -> dict[str, Any]:
    return {field.name: getattr(summary, field.name) for field in fields(RunSummary)}


def _decision(record: Record) -> str:
    return decision_token(record.run["status"], open_decisions(step_facts(record.visits), record.spec))


def _children(connection: sa.Connection, run_id: str) -> tuple[str, ...]:
    made = sa.select(tables.Run.id).where(tables.Run.parent_run_id == run_id)
    return tuple(connection.scalars(made.order_by(tables.Run.created_at, tables.Run.id)))
