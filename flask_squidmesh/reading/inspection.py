"""One run in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from ..engine.actions import decision_token, open_decisions
from ..engine.changes import NewStepRun
from ..engine.facts import COUNTERS, entered
from ..store import tables
from ..store.summaries import summary_values
from ..workflow.registry import Registry
from ..workflow.spec import WorkflowSpec
from .audit import events_of
from .records import Record, Row, read_record, step_facts
from .states import merged_outputs
from .steps import step_run_views, step_views
from .timeline import timeline
from .views import AuditEventView, Run

_EMPTY: Final = {**dict.fromkeys(tables.runs.columns.keys()), **dict.fromkeys(COUNTERS, 0)}


def inspect(connection: sa.Connection, registry: Registry, run_id: UUID | str, *, include_history: bool = False) -> Run:
    """The run, with include_history also its steps, step runs, attempts and audit events.

    Six queries. Raises RunNotFoundError, for what is no id too.
    """
    return run_of(connection, read_record(connection, registry, run_id), include_history=include_history)


def begun(run: Mapping[str, Any], first_steps: Sequence[NewStepRun], spec: WorkflowSpec) -> Run:
    """A run that has just been written, without a query. run: its row, as far as there is something in it."""
    row: dict[str, Any] = {**_EMPTY, **run}
    visits = [entered(row["id"], each) for each in first_steps]
    return Run(
        **summary_values(row),
        payload=row["payload"],
        context={},
        schedule=row["schedule"],
        last_error=None,
        fingerprint=row["fingerprint"],
        decision=decision_token(row["status"], open_decisions(visits, spec)),
        children=(),
    )


def run_of(connection: sa.Connection, record: Record, *, include_history: bool) -> Run:
    """The run that was read. Two queries."""
    audit_events = events_of(connection, record.run["id"], () if include_history else ("child_pruned", "replayed"))
    gone, replays = _told(audit_events, "child_pruned"), _told(audit_events, "replayed")
    children, named = _relatives(connection, record.run, replays)
    history: dict[str, Any] = {}
    if include_history:
        history = {
            "steps": step_views(record),
            "step_runs": step_run_views(record),
            "audit_events": audit_events,
            "timeline": timeline(record, audit_events),
        }
    return Run(
        **summary_values(record.run),
        payload=record.run["payload"],
        context=merged_outputs(record.visits),
        schedule=record.run["schedule"],
        last_error=record.run["error"],
        fingerprint=record.run["fingerprint"],
        decision=_decision(record),
        children=(*gone, *children),
        replays=replays,
        pruned=(*named, *gone),
        **history,
    )


def _decision(record: Record) -> str:
    opened = open_decisions(step_facts(record.visits), record.spec)
    return decision_token(record.run["status"], opened, record.run["replayed_as_id"])


def _told(events: Sequence[AuditEventView], type: str) -> tuple[str, ...]:
    """The runs that events of this type name."""
    return tuple(event.metadata["run_id"] for event in events if event.type == type and event.metadata)


def _relatives(connection: sa.Connection, run: Row, replays: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The runs that it started, and those of the runs that it names that are not there any more."""
    known = (run["parent_run_id"], run["replayed_from_id"], run["replayed_as_id"], *replays)
    named = list(dict.fromkeys(id for id in known if id is not None))
    started = tables.Run.parent_run_id == run["id"]
    query = sa.select(tables.Run.id, tables.Run.parent_run_id).where(sa.or_(started, tables.Run.id.in_(named)))
    found = connection.execute(query.order_by(tables.Run.created_at, tables.Run.id)).all()
    there = {row.id for row in found}
    children = tuple(row.id for row in found if row.parent_run_id == run["id"])
    return children, tuple(id for id in named if id not in there)
