"""What needs a person, computed from the runs themselves each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

import sqlalchemy as sa

from ..definition.workflow import Registry
from ..engine.approvals import wanted
from ..engine.command_rules import ActionFacts, decision_actions, open_decisions
from ..engine.facts import StepFact, asked_since
from ..engine.kept_decisions import EVENT, STANDSTILLS, DecisionKept
from ..engine.waits import options_of
from ..storage.scope import Scope
from ..storage.summaries import RunSummary, summary_of
from ..storage.tables import Dispatch, StepRun, WorkflowRun
from .operator_status import UNTAKEN, Query
from .reason_facts import StuckWork, UndoFailure
from .results import DecisionView, InboxItem
from .run_list import Columns
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


IS_STUCK: Final = sa.and_(WorkflowRun.needs.is_(None), UNTAKEN)

STUCK_COLUMNS: Columns = [
    StepRun.__table__.c.step.label("stuck_step"),
    *(
        Dispatch.__table__.c[name].label(f"stuck_{name}")
        for name in ("due_at", "claim_id", "claimed_by", "queue", "hand_over_error", "held")
    ),
]


def item_of(row: Row, now: datetime) -> InboxItem:
    """An item without its decisions, of a run's summary and error with `dispatch_id` and `STUCK_COLUMNS`."""
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
        asked_at=asked_at(row),
        decide_by=row["decide_by"],
        deadline=deadline_of(row, now),
        error=row["error"],
    )


def asked_at(row: Row) -> datetime:
    """When the open decision of a step run was opened."""
    asked: datetime = asked_since(row["decision"], row["started_at"]) or row["created_at"]
    return asked


def deadline_of(row: Row, now: datetime) -> str | None:
    """The `deadline` of the open decision of a paused step run."""
    return deadline(asked_at(row), row["decide_by"], now)


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
