"""What needs a person, computed from the runs themselves each time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from ..engine.actions import ActionFacts, decision_actions, open_decisions
from ..engine.approving import given, wanted
from ..errors import FilterError
from ..store.summaries import SUMMARY_COLUMNS, summary_of
from ..store.tables import Dispatch, Run, StepRun
from ..workflow.registry import Registry
from .deadlines import deadline
from .listing import check_limit
from .records import Row, in_order, spec_of, step_facts
from .views import Count, DecisionView, Inbox, InboxItem
from .words import STUCK_AFTER, overdue

KINDS: Final = ("decision", "resume", "interrupted", "failed", "stuck", "compensation_failed")
_GROUPED: Final = 10_000


def inbox(
    connection: sa.Connection,
    registry: Registry,
    *,
    now: datetime,
    kinds: Collection[str] = KINDS,
    limit: int = 100,
    stuck_after: float = STUCK_AFTER,
) -> Inbox:
    """What needs a person: overdue first, then oldest. Runs that failed the same way are one item.

    kinds: only items of these kinds. limit: 1 to 500 items. stuck_after: seconds after which work that nobody takes is
    stuck. At most five queries. Raises FilterError.
    """
    check_limit(limit)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise FilterError("kinds", f"There is no kind {unknown[0]!r}. The kinds are {', '.join(KINDS)}.")
    needing = _needing(connection, [kind for kind in kinds if kind not in ("failed", "stuck")], now, limit)
    failed = _failed(connection, limit) if "failed" in kinds else []
    stuck = _stuck(connection, now, stuck_after, limit) if "stuck" in kinds else []
    decided = _with_step_runs(connection, registry, needing, now)
    items = sorted([*decided, *failed, *stuck], key=lambda item: (not item.overdue, item.since))
    return Inbox(items=tuple(items[:limit]), counts=inbox_counts(connection, now=now, stuck_after=stuck_after))


def _needing(connection: sa.Connection, kinds: Collection[str], now: datetime, limit: int) -> list[InboxItem]:
    late = sa.case((Run.needs_due_at <= now, 0), else_=1)
    query = sa.select(*SUMMARY_COLUMNS, Run.error).where(Run.needs.in_(kinds))
    query = query.order_by(late, Run.needs_since, Run.id).limit(limit)
    return [_item(row) for row in connection.execute(query).mappings()] if kinds else []


def _failed(connection: sa.Connection, limit: int) -> list[InboxItem]:
    """The oldest of each group of failures with one fingerprint, and how many there are."""
    failed = sa.select(Run.id, Run.needs_since, Run.error_fingerprint).where(Run.needs == "failed")
    recent = failed.order_by(Run.needs_since.desc()).limit(_GROUPED).subquery()
    group = sa.func.coalesce(recent.c.error_fingerprint, sa.cast(recent.c.id, sa.String))
    grouped = sa.select(
        recent.c.id,
        sa.func.count().over(partition_by=group).label("alike"),
        sa.func.row_number().over(partition_by=group, order_by=(recent.c.needs_since, recent.c.id)).label("place"),
    ).subquery()
    query = (
        sa.select(*SUMMARY_COLUMNS, Run.error, grouped.c.alike)
        .join(grouped, sa.and_(grouped.c.id == Run.id, grouped.c.place == 1))
        .order_by(Run.needs_since, Run.id)
        .limit(limit)
    )
    return [replace(_item(row), alike=row["alike"] - 1) for row in connection.execute(query).mappings()]


def _stuck(connection: sa.Connection, now: datetime, stuck_after: float, limit: int) -> list[InboxItem]:
    """Runs that need nobody's decision but whose work nobody takes, each with its most overdue dispatch."""
    query = (
        sa.select(*SUMMARY_COLUMNS, Run.error, *_STUCK_COLUMNS)
        .join(Dispatch, Dispatch.run_id == Run.id)
        .outerjoin(StepRun, StepRun.id == Dispatch.step_run_id)
        .where(Run.needs.is_(None), overdue(now, stuck_after))
        .order_by(Dispatch.due_at, Dispatch.id)
        .limit(limit)
    )
    items: dict[str, InboxItem] = {}
    for row in connection.execute(query).mappings():
        items.setdefault(row["id"], _stuck_item(row))
    return list(items.values())


_STUCK_COLUMNS: list[sa.ColumnElement[Any]] = [
    StepRun.__table__.c.step.label("stuck_step"),
    *(
        Dispatch.__table__.c[name].label(f"stuck_{name}")
        for name in ("due_at", "claim_id", "claimed_by", "queue", "hand_over_error", "held")
    ),
]


def _stuck_item(row: Row) -> InboxItem:
    untaken = "dispatch_delayed" if row["stuck_held"] is None else "definition_mismatch"
    stuck = {
        "reason": "worker_lost" if row["stuck_claim_id"] else untaken,
        "step": row["stuck_step"],
        "due_at": row["stuck_due_at"],
        "worker": row["stuck_claimed_by"] if row["stuck_claim_id"] else None,
        "queue": row["stuck_queue"],
        "executor_error": row["stuck_hand_over_error"],
        "held": row["stuck_held"],
    }
    return replace(_item(row), kind="stuck", since=row["stuck_due_at"], stuck=stuck)


def _item(row: Row) -> InboxItem:
    run = summary_of(row)
    return InboxItem(
        run=run,
        kind=run.needs.kind if run.needs else "",
        since=(run.needs and run.needs.since) or run.updated_at,
        due_at=run.needs.due_at if run.needs else None,
        overdue=False,
        decisions=(),
        next_actions=(),
        error=row["error"],
        alike=0,
        stuck=None,
        compensation_failures=(),
    )


def _with_step_runs(
    connection: sa.Connection, registry: Registry, items: Sequence[InboxItem], now: datetime
) -> Iterable[InboxItem]:
    """The items with the decisions that are open in their runs, and what could not be undone; one query."""
    ids = [item.run.id for item in items]
    not_undone = sa.and_(StepRun.kind == "compensation", StepRun.status == "failed")
    told = sa.or_(StepRun.status == "paused", not_undone)
    query = sa.select(StepRun.__table__).where(StepRun.run_id.in_(ids), told)
    rows: dict[str, list[Row]] = {id: [] for id in ids}
    for row in connection.execute(query).mappings() if ids else ():
        rows[row["run_id"]].append(row)
    return [_told(item, registry, rows[item.run.id], now) for item in items]


def _told(item: InboxItem, registry: Registry, rows: Sequence[Row], now: datetime) -> InboxItem:
    if item.kind == "compensation_failed":
        failed = in_order(tuple(row for row in rows if row["kind"] == "compensation"), None)
        return replace(
            item, compensation_failures=tuple({"step": row["step"], "error": row["error"]} for row in failed)
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
    views = [decision_of(row, now) for row in paused if row["decision"]]
    return replace(
        item,
        overdue=item.due_at is not None and item.due_at <= now,
        decisions=tuple(sorted(views, key=lambda view: (view.decide_by is None, view.decide_by or view.asked_at))),
        next_actions=decision_actions(facts),
    )


def decision_of(row: Row, now: datetime) -> DecisionView:
    """The open decision of a paused step run."""
    decision: Mapping[str, Any] = row["decision"]
    return DecisionView(
        step=row["step"],
        visit=row["visit"],
        kind=decision["kind"],
        prompt=decision.get("prompt"),
        permission=decision.get("permission"),
        approvals=wanted(decision),
        given=tuple(given(decision)),
        not_starter=bool(decision.get("not_starter")),
        targets={"ok": decision.get("ok"), "error": decision.get("error")},
        asked_at=row["started_at"] or row["created_at"],
        decide_by=row["decide_by"],
        deadline=deadline(row["started_at"] or row["created_at"], row["decide_by"], now),
    )


def inbox_counts(connection: sa.Connection, *, now: datetime, stuck_after: float = STUCK_AFTER) -> dict[str, Count]:
    """How much needs a person, by kind; one query."""
    by_need = sa.select(Run.needs.label("kind"), sa.func.count().label("number")).where(Run.needs.is_not(None))
    stuck = (
        sa.select(sa.literal("stuck"), sa.func.count(sa.distinct(Dispatch.run_id)))
        .join(Run, Run.id == Dispatch.run_id)
        .where(Run.needs.is_(None), overdue(now, stuck_after))
    )
    query: sa.CompoundSelect[Any] = sa.union_all(by_need.group_by(Run.needs), stuck)
    found = {row.kind: row.number for row in connection.execute(query)}
    return {kind: Count(value=found.get(kind, 0)) for kind in KINDS}


def marks(connection: sa.Connection, *, now: datetime) -> list[tuple[Any, ...]]:
    """What `inbox` shows, in short: equal for as long as it shows the same. One query.

    Every change of a run raises its revision, and what comes to need a person brings a time of its own. Of failed
    runs, which may be many, the times alone are read: the index holds them.
    """
    count, revisions, none = sa.func.count(), sa.func.sum(Run.revision), sa.literal(0)
    since = _seconds(Run.needs_since)
    failed = sa.select(sa.literal("failed"), count, none, since, none, none).where(Run.needs == "failed")
    needing = sa.select(Run.needs, count, revisions, since, _number(Run.needs_due_at <= now), none).where(
        Run.needs.in_([kind for kind in KINDS if kind not in ("failed", "stuck")])
    )
    stuck = (
        sa.select(
            sa.literal("stuck"),
            count,
            revisions,
            _seconds(Dispatch.due_at),
            sa.func.count(Dispatch.claim_id),
            sa.func.count(Dispatch.held) + 1000 * sa.func.count(Dispatch.hand_over_error),
        )
        .join_from(Dispatch, Run, Run.id == Dispatch.run_id)
        .where(Run.needs.is_(None), overdue(now))
    )
    query: sa.CompoundSelect[Any] = sa.union_all(needing.group_by(Run.needs), failed, stuck)
    return sorted(tuple(row) for row in connection.execute(query))


def _seconds(column: sa.orm.InstrumentedAttribute[Any]) -> sa.ColumnElement[Any]:
    return sa.func.sum(sa.extract("epoch", column))


def _number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))
