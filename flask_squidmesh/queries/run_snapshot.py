"""One run in full, as it was at one moment: its state, its steps and its story."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from ..definition.spec import WorkflowSpec
from ..definition.values import JsonValue
from ..definition.workflow import Registry
from ..engine.changes import NewStepRun
from ..engine.command_rules import decision_token, open_decisions
from ..engine.facts import COUNTERS, entered
from ..engine.kept_decisions import DecisionKept
from ..errors import RunNotFoundError
from ..storage import tables
from ..storage.scope import Scope
from ..storage.summaries import SUMMARY_COLUMNS, RunSummary, summary_of, summary_values
from ..storage.tables import Dispatch
from ..storage.tables import WorkflowRun as RunRow
from .audit_log import LINKING, AuditWindow, events_of, window_of
from .explanation import explanation_of
from .inbox import open_in
from .operator_status import UNTAKEN, is_untaken, moments, word_of
from .related_runs import MOST_CHILDREN, RelatedRuns, related_runs
from .results import (
    AttemptView,
    AuditEventView,
    DecisionView,
    Explanation,
    Graph,
    Run,
    RunHistory,
    StepRunView,
    TimelineEvent,
)
from .run_graph import graph_of
from .run_record import Row, RunRecord, merged_outputs, read_record, run_id_of, seen_by, step_facts
from .step_results import attempts_of, step_run_views, step_views

FIRST, LAST = -1, 1_000_000


@dataclass(frozen=True, slots=True)
class _Placed:
    """An event with its place among those of the same moment: first by step run, then by what follows from what."""

    step_run: int
    rank: int
    event: TimelineEvent

    @property
    def place(self) -> tuple[datetime, int, int]:
        return self.event.at, self.step_run, self.rank


def timeline(record: RunRecord, audit: Sequence[AuditEventView]) -> tuple[TimelineEvent, ...]:
    """Everything that happened, oldest first: the start, visits, attempts, what people did and were told, the end."""
    numbers = {(row["kind"], row["step"], row["visit"]): number for number, row in enumerate(record.step_runs)}
    placed = [
        *_ends(record.run),
        *(each for number, row in enumerate(record.step_runs) for each in _of_step_run(record, row, number)),
        *(_Placed(numbers.get(("step", event.step, event.visit), LAST), 5, _audited(event)) for event in audit),
        *(_Placed(LAST, 10, event) for event in record.told),
    ]
    return tuple(each.event for each in sorted(placed, key=lambda each: each.place))


def _ends(run: Row) -> Iterator[_Placed]:
    yield _Placed(FIRST, 0, TimelineEvent(at=run["created_at"], type="started", actor=run["actor"]))
    if run["finished_at"] is not None:
        said = {"outcome": run["outcome"]} if run["outcome"] else None
        ended = TimelineEvent(at=run["finished_at"], type=run["status"], step=run["current_step"], details=said)
        yield _Placed(LAST, 9, ended)


def _of_step_run(record: RunRecord, row: Row, number: int) -> Iterator[_Placed]:
    entered = "compensation_planned" if row["kind"] == "compensation" else "entered"
    due = {"due_at": row["due_at"].isoformat()} if row["due_at"] is not None else None
    yield _Placed(number, 0, _step_event(row, row["created_at"], entered, details=due))
    for attempt in attempts_of(record, row):
        yield from _of_attempt(row, attempt, number)


def _of_attempt(row: Row, attempt: AttemptView, number: int) -> Iterator[_Placed]:
    if row["decision"] is not None and not attempt.is_performed:
        return
    begun = _step_event(row, attempt.started_at, "attempt_started", attempt=attempt.attempt_number)
    yield _Placed(number, 2 * attempt.attempt_number, begun)
    if attempt.finished_at is not None:
        error = {"error": attempt.error} if attempt.error else None
        ended = _step_event(
            row, attempt.finished_at, f"attempt_{attempt.status}", attempt=attempt.attempt_number, details=error
        )
        yield _Placed(number, 2 * attempt.attempt_number + 1, ended)


def _step_event(
    row: Row, at: datetime, type: str, *, attempt: int | None = None, details: Mapping[str, object] | None = None
) -> TimelineEvent:
    return TimelineEvent(
        at=at, type=type, kind=row["kind"], step=row["step"], visit=row["visit"], attempt=attempt, details=details
    )


def _audited(event: AuditEventView) -> TimelineEvent:
    return TimelineEvent(
        at=event.at,
        type=event.type,
        step=event.step,
        visit=event.visit,
        actor=event.actor,
        comment=event.comment,
        details=dict(event.metadata) if event.metadata else None,
        times=event.times,
        last_at=event.last_at,
    )


PARENT: Final = ("parent_run_id", "parent_step")
_EMPTY: Final = {**dict.fromkeys(tables.runs.columns.keys()), **dict.fromkeys(COUNTERS, 0)}


def inspect(
    connection: sa.Connection,
    registry: Registry,
    scope: Scope,
    run_id: UUID | str,
    *,
    include_history: bool = False,
    tells: bool = False,
) -> Run:
    """The run, with include_history also its steps, step runs, attempts and audit events.

    Six queries. tells: whether the history says who was told of it too. Raises RunNotFoundError, for what is no id too.
    """
    record = read_record(connection, registry, scope, run_id, tells=tells and include_history)
    return run_of(connection, scope, record, include_history=include_history)


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
    record: RunRecord,
    *,
    include_history: bool,
    audit: AuditWindow | None = None,
    related: RelatedRuns | None = None,
) -> Run:
    """The run that was read. Two queries, fewer by what was read already: audit, perhaps a part of it, and related."""
    types = () if include_history else LINKING
    audit_events = audit.events if audit else events_of(connection, scope, record.run["id"], types)
    linking = audit.linking if audit else audit_events
    gone, replays = _told(linking, "child_pruned"), _told(linking, "replayed")
    relatives = _among(related) if related else _relatives(connection, scope, record.run, replays)
    run = Run(
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
    )
    return _with_history(run, record, audit_events) if include_history else run


def _with_history(run: Run, record: RunRecord, audit_events: tuple[AuditEventView, ...]) -> RunHistory:
    known = {each.name: getattr(run, each.name) for each in fields(run)}
    told = {
        "steps": step_views(record),
        "step_runs": step_run_views(record),
        "audit_events": audit_events,
        "timeline": timeline(record, audit_events),
    }
    return RunHistory(**{**known, **told})


def _decision(record: RunRecord) -> str:
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


def _among(related: RelatedRuns) -> _Relatives:
    parent = dict.fromkeys(PARENT) if related.parent_is_hidden else {}
    return _Relatives(related.children, related.pruned, parent)


def _relatives(connection: sa.Connection, scope: Scope, run: Row, replays: Sequence[str]) -> _Relatives:
    """Replays are of the run's own workflow and tenant, but a parent or a child may be of another workflow."""
    known = (run["parent_run_id"], run["replayed_from_id"], run["replayed_as_id"], *replays)
    named = list(dict.fromkeys(id for id in known if id is not None))
    seen = sa.and_(sa.true(), *scope.within(tables.WorkflowRun))
    started = sa.and_(tables.WorkflowRun.parent_run_id == run["id"], seen)
    columns = (tables.WorkflowRun.id, tables.WorkflowRun.parent_run_id, seen.label("seen"))
    query = sa.select(*columns).where(sa.or_(started, tables.WorkflowRun.id.in_(named)))
    found = connection.execute(query.order_by(tables.WorkflowRun.created_at, tables.WorkflowRun.id)).all()
    there = {row.id: row.seen for row in found}
    untold = there.get(run["parent_run_id"]) is False
    return _Relatives(
        children=tuple(row.id for row in found if row.parent_run_id == run["id"]),
        pruned=tuple(id for id in named if id not in there),
        parent=dict.fromkeys(PARENT) if untold else {},
    )


AUDIT_EVENTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSnapshot:
    """A run with its history, why it is where it is, and the word that operators have for that.

    decisions: those that are open, the most urgent first. audit: as much of it as was asked for. related: the runs that
    it belongs with.
    """

    run: Run
    explanation: Explanation
    word: str
    record: RunRecord
    decisions: tuple[DecisionView, ...] = ()
    audit: AuditWindow
    related: RelatedRuns

    def graph(self) -> Graph:
        """The run's workflow as nodes and edges."""
        return graph_of(self.record)

    def state_of(self, step_run: StepRunView) -> dict[str, JsonValue] | None:
        """The state that a visit saw; None for a compensation, and where its step is not declared now."""
        return next((seen_by(self.record, row) for row in self.record.step_runs if row["id"] == step_run.id), None)


class DecidedVisit(NamedTuple):
    """A visit at which people decide or have decided. manual: who did."""

    status: str
    decision: DecisionKept | None
    manual: Mapping[str, JsonValue] | None


def decided_and_open(connection: sa.Connection, run_id: str) -> list[DecidedVisit]:
    """The visits of the run at which people decide or have decided."""
    query = sa.select(tables.StepRun.status, tables.StepRun.decision, tables.StepRun.manual).where(
        tables.StepRun.run_id == run_id,
        sa.or_(tables.StepRun.status == "paused", tables.StepRun.manual.is_not(None)),
    )
    return [*map(DecidedVisit._make, connection.execute(query))]


def snapshot_of(
    connection: sa.Connection,
    registry: Registry,
    scope: Scope,
    run_id: UUID | str,
    *,
    now: datetime,
    claim_timeout: float,
    audit_before: int | None = None,
    audit_events: int | None = AUDIT_EVENTS,
    children: int | None = MOST_CHILDREN,
    tells: bool = False,
) -> RunSnapshot:
    """Everything about a run, but of its audit only the newest events, and of its children only the first.

    Six queries. audit_before: the id of an event; those before it in place of the newest.
    audit_events, children: how many, None for all. tells: see `inspect`. Raises RunNotFoundError.
    """
    record = read_record(connection, registry, scope, run_id, tells=tells)
    audit = window_of(connection, scope, record.run["id"], before=audit_before, most=audit_events)
    replays = _told(audit.linking, "replayed")
    related = related_runs(connection, scope, record.run, replays, now=now, most=children)
    run = run_of(connection, scope, record, include_history=True, audit=audit, related=related)
    stuck = any(is_untaken(dispatch, now) for dispatch in record.dispatches.values())
    return RunSnapshot(
        run=run,
        explanation=explanation_of(record, now=now, claim_timeout=claim_timeout),
        word=word_of(run, now, stuck=stuck),
        record=record,
        decisions=open_in(record.step_runs, now),
        audit=audit,
        related=related,
    )


def glance_at(connection: sa.Connection, scope: Scope, run_id: UUID | str, *, now: datetime) -> tuple[RunSummary, str]:
    """The run in one line, with the word for its state. One query. Raises RunNotFoundError."""
    stuck = sa.exists().where(Dispatch.run_id == RunRow.id, UNTAKEN)
    found = (RunRow.id == run_id_of(run_id), *scope.within(RunRow))
    query = sa.select(*SUMMARY_COLUMNS, stuck.label("stuck")).where(*found)
    row = connection.execute(query, moments(now)).mappings().one_or_none()
    if row is None:
        raise RunNotFoundError(run_id)
    run = summary_of(row)
    return run, word_of(run, now, stuck=row["stuck"])
