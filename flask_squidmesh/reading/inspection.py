"""One run in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from ..engine.actions import decision_token, open_decisions
from ..engine.changes import NewStepRun
from ..engine.facts import COUNTERS, entered
from ..store import tables
from ..store.scope import Scope
from ..store.summaries import summary_values
from ..workflow.registry import Registry
from ..workflow.spec import WorkflowSpec
from .audit import LINKING, AuditWindow, events_of
from .records import Record, Row, read_record, step_facts
from .states import merged_outputs
from .steps import step_run_views, step_views
from .timeline import timeline
from .views import AuditEventView, Run, RunHistory

PARENT: Final = ("parent_run_id", "parent_step")
_EMPTY: Final = {**dict.fromkeys(tables.runs.columns.keys()), **dict.fromkeys(COUNTERS, 0)}


def inspect(
    connection: sa.Connection, registry: Registry, scope: Scope, run_id: UUID | str, *, include_history: bool = False
) -> Run:
    """The run, with include_history also its steps, step runs, attempts and audit events.

    Six queries. Raises RunNotFoundError, for what is no id too.
    """
    return run_of(connection, scope, read_record(connection, registry, scope, run_id), include_history=include_history)


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


def run_of(
    connection: sa.Connection,
    scope: Scope,
    record: Record,
    *,
    include_history: bool,
    audit: AuditWindow | None = None,
) -> Run:
    """The run that was read. Two queries, one where its audit was read already. audit: instead of all of it."""
    types = () if include_history else LINKING
    audit_events = audit.events if audit else events_of(connection, scope, record.run["id"], types)
    linking = audit.linking if audit else audit_events
    gone, replays = _told(linking, "child_pruned"), _told(linking, "replayed")
    relatives = _relatives(connection, scope, record.run, replays)
    history: dict[str, Any] = {}
    if include_history:
        history = {
            "steps": step_views(record),
            "step_runs": step_run_views(record),
            "audit_events": audit_events,
            "timeline": timeline(record, audit_events),
        }
    kind = RunHistory if include_history else Run
    return kind(
        **{**summary_values(record.run), **relatives.parent},
        payload=record.run["payload"],
        context=merged_outputs(record.visits),
        schedule=record.run["schedule"],
        last_error=record.run["error"],
        fingerprint=record.run["fingerprint"],
        decision=_decision(record),
        children=(*gone, *relatives.children),
        replays=replays,
        pruned=(*relatives.pruned, *gone),
        **history,
    )


def _decision(record: Record) -> str:
    opened = open_decisions(step_facts(record.visits), record.spec)
    return decision_token(record.run["status"], opened, record.run["replayed_as_id"])


def _told(events: Sequence[AuditEventView], type: str) -> tuple[str, ...]:
    """The runs that events of this type name."""
    return tuple(event.metadata["run_id"] for event in events if event.type == type and event.metadata)


class _Relatives(NamedTuple):
    """The runs that it started, those of the runs that it names that are not there any more, and what of its row would
    tell of a parent that is outside the scope, as nothing."""

    children: tuple[str, ...]
    pruned: tuple[str, ...]
    parent: dict[str, None]


def _relatives(connection: sa.Connection, scope: Scope, run: Row, replays: Sequence[str]) -> _Relatives:
    """Replays are of the run's own workflow and tenant, but a parent or a child may be of another workflow."""
    known = (run["parent_run_id"], run["replayed_from_id"], run["replayed_as_id"], *replays)
    named = list(dict.fromkeys(id for id in known if id is not None))
    seen = sa.and_(sa.true(), *scope.within(tables.Run))
    started = sa.and_(tables.Run.parent_run_id == run["id"], seen)
    columns = (tables.Run.id, tables.Run.parent_run_id, seen.label("seen"))
    query = sa.select(*columns).where(sa.or_(started, tables.Run.id.in_(named)))
    found = connection.execute(query.order_by(tables.Run.created_at, tables.Run.id)).all()
    there = {row.id: row.seen for row in found}
    untold = there.get(run["parent_run_id"]) is False
    return _Relatives(
        children=tuple(row.id for row in found if row.parent_run_id == run["id"]),
        pruned=tuple(id for id in named if id not in there),
        parent=dict.fromkeys(PARENT) if untold else {},
    )
