"""What needs a person, computed from the runs themselves each time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal

import sqlalchemy as sa

from ..definition.workflow import Registry
from ..engine.approvals import wanted
from ..engine.command_rules import ActionFacts, decision_actions, open_decisions
from ..engine.facts import StepFact, asked_since
from ..engine.kept_decisions import EVENT, STANDSTILLS, DecisionKept
from ..engine.waits import options_of
from ..errors import FilterError
from ..storage.scope import Scope
from ..storage.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..storage.tables import Dispatch, Id, StepRun, Timestamp, WorkflowRun
from .operator_status import NOW, STUCK_AFTER, UNTAKEN, Query, UnionQuery, moments
from .reason_facts import StuckWork, UndoFailure
from .results import Count, DecisionView, Inbox, InboxItem
from .run_list import QUERIES_KEPT, Columns, check_limit
from .run_record import Row, approvals_in, in_order, spec_of, step_facts

DUE_SOON: Final = 0.25


def is_overdue(due_at: datetime | None, now: datetime) -> bool:
    """Whether the time by which somebody has to decide has come; `needs_due_at <= NOW` is the same in SQL."""
    return due_at is not None and due_at <= now


def overdue_since(run: RunSummary, now: datetime) -> datetime | None:
    """Since when a decision, or a step of the run, is late; None where none is."""
    due_at = run.needs.due_at if run.needs else None
    late = [at for at in (due_at, run.overdue_since) if at is not None and is_overdue(at, now)]
    return min(late, default=None)


def deadline(since: datetime, decide_by: datetime | None, now: datetime) -> str | None:
    """on_time, due_soon (the last quarter of the time has begun) or overdue; None without a deadline."""
    if decide_by is None:
        return None
    if is_overdue(decide_by, now):
        return "overdue"
    return "due_soon" if now >= decide_by - (decide_by - since) * DUE_SOON else "on_time"


KINDS: Final = ("decision", "resume", "interrupted", "incident", "failed", "stuck", "compensation_failed")
MOST_GROUPED: Final = 10_000


def inbox(
    connection: sa.Connection,
    registry: Registry,
    scope: Scope,
    *,
    now: datetime,
    kinds: Collection[str] = KINDS,
    limit: int = 100,
    stuck_after: float = STUCK_AFTER,
) -> Inbox:
    """What needs a person: overdue first, then oldest. Runs that failed the same way are one item.

    kinds: only items of these kinds. limit: 1 to 500 items. stuck_after: seconds after which work that nobody takes is
    stuck. Three queries. Raises FilterError.
    """
    found = glance(connection, scope, now=now, kinds=kinds, limit=limit, stuck_after=stuck_after)
    return replace(found, items=with_decisions(connection, registry, found.items, now))


def glance(
    connection: sa.Connection,
    scope: Scope,
    *,
    now: datetime,
    kinds: Collection[str] = KINDS,
    limit: int = 100,
    stuck_after: float = STUCK_AFTER,
) -> Inbox:
    """The same without decisions, actions and what could not be undone. Two queries. Raises FilterError."""
    items = first_items(connection, scope, now=now, kinds=kinds, limit=limit, stuck_after=stuck_after)
    return Inbox(items=items, counts=inbox_counts(connection, scope, now=now, stuck_after=stuck_after))


def first_items(
    connection: sa.Connection,
    scope: Scope,
    *,
    now: datetime,
    kinds: Collection[str] = KINDS,
    limit: int = 100,
    stuck_after: float = STUCK_AFTER,
) -> tuple[InboxItem, ...]:
    """The items alone. One query. Raises FilterError."""
    check_limit(limit)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise FilterError("kinds", f"There is no kind {unknown[0]!r}. The kinds are {', '.join(KINDS)}.")
    first = _first(scope, tuple(kinds), limit) if kinds else None
    rows = () if first is None else connection.execute(first, moments(now, stuck_after)).mappings()
    return tuple(item_of(row, now) for row in rows)


def marks(inbox: Inbox) -> tuple[object, ...]:
    """What it shows, in short: equal for as long as it shows the same, since every change of a run counts as one."""
    items = [
        (item.run.id, item.run.revision, item.kind, item.since, item.overdue, item.alike, item.stuck)
        for item in inbox.items
    ]
    return (items, inbox.counts)


IS_STUCK: Final = sa.and_(WorkflowRun.needs.is_(None), UNTAKEN)

# No parameter, so that a planner knows that the index of failed runs holds them all.
IS_FAILED: Final = WorkflowRun.needs == sa.literal_column("'failed'")


@lru_cache(QUERIES_KEPT)
def _first(scope: Scope, kinds: tuple[str, ...], limit: int) -> Query:
    """Each source is read up to the limit by its index, and only what is left of all of them from the tables."""
    asking = [kind for kind in kinds if kind not in ("failed", "stuck")]
    sources = [
        *([_needing(scope, asking, limit)] if asking else []),
        *([_failed(scope, limit)] if "failed" in kinds else []),
        *([_stuck(scope, limit)] if "stuck" in kinds else []),
    ]
    found = sa.union_all(*(sa.select(source.subquery()) for source in sources)).subquery()
    first = sa.select(found).order_by(found.c.late, found.c.since, found.c.run_id).limit(limit).subquery()
    return (
        sa.select(*SUMMARY_COLUMNS, WorkflowRun.error, first.c.alike, first.c.dispatch_id, *STUCK_COLUMNS)
        .join(first, first.c.run_id == WorkflowRun.id)
        .outerjoin(Dispatch, Dispatch.id == first.c.dispatch_id)
        .outerjoin(StepRun, StepRun.id == Dispatch.step_run_id)
        .order_by(first.c.late, first.c.since, first.c.run_id)
    )


def _place(
    run_id: object,
    *,
    late: object = 1,
    since: object,
    alike: object = 0,
    dispatch_id: sa.ColumnElement[str] | None = None,
) -> Query:
    """late: 0 for what comes first. alike: how many more failed the same way. dispatch_id: of what nobody takes."""
    columns: Columns = [
        sa.type_coerce(run_id, Id).label("run_id"),
        sa.type_coerce(late, sa.Integer).label("late"),
        sa.type_coerce(since, Timestamp).label("since"),
        sa.type_coerce(alike, sa.Integer).label("alike"),
        sa.cast(dispatch_id, Id).label("dispatch_id"),
    ]
    return sa.select(*columns)


def _needing(scope: Scope, kinds: Collection[str], limit: int) -> Query:
    late = sa.case((WorkflowRun.needs_due_at <= NOW, 0), else_=1)
    query = _place(WorkflowRun.id, late=late, since=WorkflowRun.needs_since).where(
        WorkflowRun.needs.in_(kinds), *scope.within(WorkflowRun)
    )
    return query.order_by(late, WorkflowRun.needs_since, WorkflowRun.id).limit(limit)


def _failed(scope: Scope, limit: int) -> Query:
    """The oldest of each group of failures with one fingerprint, and how many there are."""
    group = sa.func.coalesce(WorkflowRun.error_fingerprint, sa.cast(WorkflowRun.id, sa.String))
    is_failed = (IS_FAILED, *scope.within(WorkflowRun))
    failed = sa.select(WorkflowRun.needs_since, group.label("group")).where(*is_failed)
    recent = failed.order_by(WorkflowRun.needs_since.desc()).limit(MOST_GROUPED).subquery()
    since, alike = sa.func.min(recent.c.needs_since), sa.func.count() - 1
    grouped = sa.select(recent.c.group, since.label("since"), alike.label("alike")).group_by(recent.c.group)
    first = grouped.order_by(sa.literal_column("since")).limit(limit).subquery()
    oldest = sa.select(WorkflowRun.id).where(
        *is_failed, WorkflowRun.needs_since == first.c.since, group == first.c.group
    )
    return _place(oldest.order_by(WorkflowRun.id).limit(1).scalar_subquery(), since=first.c.since, alike=first.c.alike)


def _stuck(scope: Scope, limit: int) -> Query:
    """Runs that need nobody's decision but whose work nobody takes, each with its most overdue dispatch."""
    late = (
        sa.select(Dispatch.id, Dispatch.run_id, Dispatch.due_at)
        .join(WorkflowRun, WorkflowRun.id == Dispatch.run_id)
        .where(IS_STUCK, *scope.within(WorkflowRun))
        .order_by(Dispatch.due_at, Dispatch.id)
        .limit(limit)
        .subquery()
    )
    place = sa.func.row_number().over(partition_by=late.c.run_id, order_by=(late.c.due_at, late.c.id))
    placed = sa.select(late, place.label("place")).subquery()
    return _place(placed.c.run_id, since=placed.c.due_at, dispatch_id=placed.c.id).where(placed.c.place == 1)


STUCK_COLUMNS: Columns = [
    StepRun.__table__.c.step.label("stuck_step"),
    *(
        Dispatch.__table__.c[name].label(f"stuck_{name}")
        for name in ("due_at", "claim_id", "claimed_by", "queue", "hand_over_error", "held")
    ),
]


def item_of(row: Row, now: datetime) -> InboxItem:
    """An item without its decisions, of a run's summary and error with `alike`, `dispatch_id` and `STUCK_COLUMNS`."""
    run, is_stuck = summary_of(row), row["dispatch_id"] is not None
    needs = run.needs
    return InboxItem(
        run=run,
        kind="stuck" if is_stuck else needs.kind if needs else "",
        since=row["stuck_due_at"] if is_stuck else (needs and needs.since) or run.updated_at,
        due_at=needs.due_at if needs else None,
        overdue=is_overdue(needs.due_at if needs else None, now),
        decisions=(),
        next_actions=(),
        error=row["error"],
        alike=row["alike"],
        stuck=_stuck_facts(row) if is_stuck else None,
        compensation_failures=(),
    )


def _stuck_facts(row: Row) -> StuckWork:
    untaken: Literal["dispatch_delayed", "definition_mismatch"]
    untaken = "dispatch_delayed" if row["stuck_held"] is None else "definition_mismatch"
    return StuckWork(
        reason="worker_lost" if row["stuck_claim_id"] else untaken,
        step=row["stuck_step"],
        due_at=row["stuck_due_at"],
        worker=row["stuck_claimed_by"] if row["stuck_claim_id"] else None,
        queue=row["stuck_queue"],
        executor_error=row["stuck_hand_over_error"],
        held=row["stuck_held"],
    )


_TOLD_COLUMNS: Final = dict.fromkeys((*StepFact._fields, "created_at", "error"))
_TELLING: Final = sa.select(*(StepRun.__table__.c[name] for name in _TOLD_COLUMNS)).where(
    StepRun.run_id.in_(sa.bindparam("ids", expanding=True)),
    sa.or_(StepRun.status == "paused", sa.and_(StepRun.kind == "compensation", StepRun.status == "failed")),
)


def with_decisions(
    connection: sa.Connection, registry: Registry, items: Sequence[InboxItem], now: datetime
) -> tuple[InboxItem, ...]:
    """The items with the decisions that are open in their runs, and what could not be undone; one query."""
    ids = [item.run.id for item in items if item.kind not in ("failed", "stuck")]
    rows: dict[str, list[Row]] = {id: [] for id in ids}
    for row in connection.execute(_TELLING, {"ids": ids}).mappings() if ids else ():
        rows[row["run_id"]].append(row)
    return tuple(_told(item, registry, rows[item.run.id], now) if item.run.id in rows else item for item in items)


def _told(item: InboxItem, registry: Registry, rows: Sequence[Row], now: datetime) -> InboxItem:
    if item.kind == "compensation_failed":
        failed = in_order(tuple(row for row in rows if row["kind"] == "compensation"), None)
        return replace(
            item, compensation_failures=tuple(UndoFailure(step=row["step"], error=row["error"]) for row in failed)
        )
    return _decided(item, registry, [row for row in rows if row["status"] == "paused"], now)


def _decided(item: InboxItem, registry: Registry, rows: Sequence[Row], now: datetime) -> InboxItem:
    spec = spec_of(registry, item.run.workflow)
    paused = in_order(tuple(rows), spec)
    facts = ActionFacts(
        status=item.run.status,
        decisions=open_decisions(step_facts(paused), spec),
        irreversible=frozenset(step.name for step in spec.steps.values() if step.irreversible) if spec else frozenset(),
        declared=frozenset(spec.steps) if spec else None,
    )
    return replace(
        item,
        decisions=open_in(paused, now),
        next_actions=decision_actions(facts),
        error=next((row["error"] for row in paused if _stands(row) and row["error"]), item.error),
    )


def _stands(row: Row) -> bool:
    return bool(row["decision"]) and row["decision"]["kind"] in STANDSTILLS


def open_in(rows: Iterable[Row], now: datetime) -> tuple[DecisionView, ...]:
    """The decisions that are open in these step runs, the most urgent first."""
    views = [
        decision_of(row, now)
        for row in rows
        if row["status"] == "paused" and row["decision"] and row["decision"]["kind"] != EVENT
    ]
    return tuple(sorted(views, key=lambda view: (view.decide_by is None, view.decide_by or view.asked_at)))


def decision_of(row: Row, now: datetime) -> DecisionView:
    """The open decision of a paused step run."""
    decision: DecisionKept = row["decision"]
    return DecisionView(
        id=row["id"],
        step=row["step"],
        visit=row["visit"],
        kind=decision["kind"],
        prompt=decision.get("prompt"),
        permission=decision.get("permission"),
        approvals=wanted(decision),
        given=approvals_in(decision),
        not_starter=bool(decision.get("not_starter")),
        starters=tuple(decision.get("starters") or ()),
        not_by=tuple(decision.get("not_by") or ()),
        targets={"ok": decision.get("ok"), "error": decision.get("error")},
        options=tuple(option["name"] for option in options_of(decision)),
        assignee=decision.get("assignee"),
        groups=tuple(decision.get("groups") or ()),
        asked_at=_asked_at(row),
        decide_by=row["decide_by"],
        deadline=deadline_of(row, now),
        error=row["error"],
    )


def _asked_at(row: Row) -> datetime:
    asked: datetime = asked_since(row["decision"], row["started_at"]) or row["created_at"]
    return asked


def deadline_of(row: Row, now: datetime) -> str | None:
    """The `deadline` of the open decision of a paused step run."""
    return deadline(_asked_at(row), row["decide_by"], now)


def inbox_counts(
    connection: sa.Connection, scope: Scope, *, now: datetime, stuck_after: float = STUCK_AFTER
) -> dict[str, Count]:
    """How much needs a person, by kind; one query."""
    found = {row.kind: row.number for row in connection.execute(_counted(scope), moments(now, stuck_after))}
    return {kind: Count(value=found[kind]) for kind in KINDS}


@lru_cache(QUERIES_KEPT)
def _counted(scope: Scope) -> UnionQuery:
    return sa.union_all(*counting(scope))


def counting(scope: Scope) -> list[Query]:
    """One query for each kind, which says how much of it there is; they take the parameters of `moments`."""
    stuck = sa.select(sa.literal("stuck").label("kind"), sa.func.count(sa.distinct(Dispatch.run_id)).label("number"))
    return [
        stuck.join(WorkflowRun, WorkflowRun.id == Dispatch.run_id).where(IS_STUCK, *scope.within(WorkflowRun)),
        *(
            sa.select(sa.literal(kind), sa.func.count())
            .select_from(WorkflowRun)
            .where(WorkflowRun.needs == kind, *scope.within(WorkflowRun))
            for kind in KINDS
            if kind != "stuck"
        ),
    ]
