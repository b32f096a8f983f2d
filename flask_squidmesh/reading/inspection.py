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
from .records import Record, Row, read_record, step_facts
from .states import merged_outputs
from .steps import step_run_views, step_views
from .timeline import timeline
from .views import Run


def inspect(connection: sa.Connection, registry: Registry, run_id: UUID | str, *, include_history: bool = False) -> Run:
    """The run, with include_history also its steps, step runs, attempts and audit events.

    Raises RunNotFoundError, for what is no id too.
    """
    record = read_record(connection, registry, run_id)
    children, gone = _children(connection, record.run["id"]), _pruned_children(connection, record.run["id"])
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
        children=(*gone, *children),
        pruned=(*_pruned_relatives(connection, record.run), *gone),
        **history,
    )


def _summary_values(summary: RunSummary) -> dict[str, Any]:
    return {field.name: getattr(summary, field.name) for field in fields(RunSummary)}


def _decision(record: Record) -> str:
    return decision_token(record.run["status"], open_decisions(step_facts(record.visits), record.spec))


def _children(connection: sa.Connection, run_id: str) -> tuple[str, ...]:
    made = sa.select(tables.Run.id).where(tables.Run.parent_run_id == run_id)
    return tuple(connection.scalars(made.order_by(tables.Run.created_at, tables.Run.id)))


def _pruned_children(connection: sa.Connection, run_id: str) -> tuple[str, ...]:
    noted = sa.select(tables.AuditEvent.data).where(
        tables.AuditEvent.run_id == run_id, tables.AuditEvent.type == "child_pruned"
    )
    return tuple(data["run_id"] for data in connection.scalars(noted.order_by(tables.AuditEvent.id)) if data)


def _pruned_relatives(connection: sa.Connection, run: Row) -> tuple[str, ...]:
    """Those of the runs that it names that are not there any more."""
    named = [run[name] for name in ("parent_run_id", "replayed_from_id", "replayed_as_id") if run[name] is not None]
    if not named:
        return ()
    there = set(connection.scalars(sa.select(tables.Run.id).where(tables.Run.id.in_(named))))
    return tuple(id for id in named if id not in there)
