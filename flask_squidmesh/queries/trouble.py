"""What went wrong and needs a person, page by page.

It is sorted by how long it has stood so; runs that failed the same way are one group, and stand apart from that list.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

import sqlalchemy as sa

from ..errors import ErrorRecord
from ..storage.scope import Scope
from ..storage.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..storage.tables import Dispatch, Id, StepRun, Timestamp, WorkflowRun
from .inbox import IS_STUCK, MOST_GROUPED, STUCK_COLUMNS, item_of
from .operator_status import STUCK_AFTER, Query, moments
from .results import InboxItem, View
from .run_list import QUERIES_KEPT, Columns, cursor_of, place_of

STANDING: Final = ("interrupted", "incident")
ENDED_BADLY: Final = ("failed", "compensation_failed")
TROUBLE: Final = (*STANDING, "stuck", *ENDED_BADLY)
MOST_GROUPS: Final = 20
_WORKFLOW: Final = sa.bindparam("workflow", type_=sa.String)
_SINCE: Final = sa.bindparam("behind_since", type_=Timestamp)
_ID: Final = sa.bindparam("behind_id", type_=Id)


@dataclass(frozen=True, kw_only=True)
class TroubleGroup(View):
    """Runs that failed the same way and that nobody has looked after. kind: failed or compensation_failed. example: the
    one that has stood so for the longest, since `first_since`; the latest has since `last_since`.
    """

    kind: str
    fingerprint: str
    count: int
    first_since: datetime
    last_since: datetime
    example: RunSummary
    error: ErrorRecord | None


@dataclass(frozen=True, kw_only=True)
class TroublePage(View):
    """Runs that went wrong in a way of their own, the one that has stood so for the longest first. next: the cursor
    behind the last, None on the last page.
    """

    items: tuple[InboxItem, ...]
    next: str | None


def cursor_behind(item: InboxItem) -> str:
    """The cursor of whatever comes behind this item in its list."""
    return cursor_of(item.since, item.run.id)


def trouble(
    connection: sa.Connection,
    scope: Scope,
    *,
    now: datetime,
    kinds: Collection[str] = TROUBLE,
    workflow: str | None = None,
    limit: int,
    after: str | None = None,
) -> TroublePage:
    """One page, in one query. kinds: those of `TROUBLE`. after: `next` of the page before. Raises FilterError."""
    wanted = tuple(kind for kind in TROUBLE if kind in kinds)
    if not wanted:
        return TroublePage(items=(), next=None)
    behind = place_of(after) if after else None
    query = _trouble(scope, wanted, workflow is not None, limit, behind is not None)
    rows = connection.execute(query, _given(now, workflow, behind)).mappings()
    items = tuple(item_of(row, now) for row in rows)
    return TroublePage(items=items[:limit], next=cursor_behind(items[limit - 1]) if len(items) > limit else None)


def trouble_groups(
    connection: sa.Connection, scope: Scope, *, kinds: Collection[str] = TROUBLE, workflow: str | None = None
) -> tuple[TroubleGroup, ...]:
    """The largest groups of runs that failed the same way, in one query."""
    wanted = tuple(kind for kind in ENDED_BADLY if kind in kinds)
    if not wanted:
        return ()
    given = {"workflow": workflow} if workflow is not None else {}
    rows = connection.execute(_groups(scope, wanted, workflow is not None), given).mappings()
    return tuple(
        TroubleGroup(
            kind=row["kind"],
            fingerprint=row["alike_in"],
            count=row["number"],
            first_since=row["first_since"],
            last_since=row["last_since"],
            example=summary_of(row),
            error=row["error"],
        )
        for row in rows
    )


def _given(now: datetime, workflow: str | None, behind: tuple[datetime, str] | None) -> dict[str, object]:
    place = {"behind_since": behind[0], "behind_id": behind[1]} if behind else {}
    return {**moments(now, STUCK_AFTER), "workflow": workflow, **place}


@lru_cache(QUERIES_KEPT)
def _trouble(scope: Scope, kinds: tuple[str, ...], of_workflow: bool, limit: int, is_behind: bool) -> Query:
    """Each kind is read up to the limit by its index, and only what is left of all of them from the tables."""
    standing = tuple(kind for kind in kinds if kind in STANDING)
    badly = tuple(kind for kind in kinds if kind in ENDED_BADLY)
    sources = [
        *([_standing(scope, standing, of_workflow)] if standing else []),
        *([_alone(scope, badly, of_workflow)] if badly else []),
        *([_stuck(scope, of_workflow, limit, is_behind)] if "stuck" in kinds else []),
    ]
    found = sa.union_all(*sources).subquery()
    here, there = sa.tuple_(found.c.since, found.c.run_id), sa.tuple_(_SINCE, _ID)
    order = (found.c.since, found.c.run_id)
    first = sa.select(found).where(*([here > there] if is_behind else [])).order_by(*order).limit(limit + 1).subquery()
    return (
        sa.select(*SUMMARY_COLUMNS, WorkflowRun.error, first.c.dispatch_id, *STUCK_COLUMNS)
        .join(first, first.c.run_id == WorkflowRun.id)
        .outerjoin(Dispatch, Dispatch.id == first.c.dispatch_id)
        .outerjoin(StepRun, StepRun.id == Dispatch.step_run_id)
        .order_by(first.c.since, first.c.run_id)
    )


def _within(scope: Scope, of_workflow: bool) -> Sequence[sa.ColumnElement[bool]]:
    return (*scope.within(WorkflowRun), *([WorkflowRun.workflow == _WORKFLOW] if of_workflow else []))


def _place(run_id: object, since: object, dispatch_id: object = None) -> Columns:
    return [
        sa.type_coerce(run_id, Id).label("run_id"),
        sa.type_coerce(since, Timestamp).label("since"),
        sa.cast(sa.null() if dispatch_id is None else dispatch_id, Id).label("dispatch_id"),
    ]


def _standing(scope: Scope, kinds: tuple[str, ...], of_workflow: bool) -> Query:
    return sa.select(*_place(WorkflowRun.id, WorkflowRun.needs_since)).where(
        WorkflowRun.needs.in_(kinds), *_within(scope, of_workflow)
    )


def _alike(scope: Scope, kinds: tuple[str, ...], of_workflow: bool) -> sa.Subquery:
    """The latest runs of each kind that ended badly, each with what is the same for all that failed the same way."""
    same = sa.func.coalesce(WorkflowRun.error_fingerprint, sa.cast(WorkflowRun.id, sa.String))
    latest = []
    for kind in kinds:
        newest = (
            sa.select(WorkflowRun.id, WorkflowRun.needs_since, sa.literal(kind).label("kind"), same.label("alike_in"))
            # No parameter, so that a planner knows that the index of failed runs holds them all.
            .where(WorkflowRun.needs == sa.literal_column(f"'{kind}'"), *_within(scope, of_workflow))
            .order_by(WorkflowRun.needs_since.desc())
            .limit(MOST_GROUPED)
            .subquery()
        )
        latest.append(sa.select(newest))
    return sa.union_all(*latest).subquery()


def _alone(scope: Scope, kinds: tuple[str, ...], of_workflow: bool) -> Query:
    latest = _alike(scope, kinds, of_workflow)
    number = sa.func.count().over(partition_by=(latest.c.kind, latest.c.alike_in)).label("number")
    counted = sa.select(latest.c.id, latest.c.needs_since, number).subquery()
    return sa.select(*_place(counted.c.id, counted.c.needs_since)).where(counted.c.number == 1)


def _stuck(scope: Scope, of_workflow: bool, limit: int, is_behind: bool) -> Query:
    """Runs that need nobody's decision but whose work nobody takes, each with its most overdue dispatch."""
    late = (
        sa.select(Dispatch.id, Dispatch.run_id, Dispatch.due_at)
        .join(WorkflowRun, WorkflowRun.id == Dispatch.run_id)
        .where(IS_STUCK, *_within(scope, of_workflow), *([Dispatch.due_at >= _SINCE] if is_behind else []))
        .order_by(Dispatch.due_at, Dispatch.id)
        .limit(2 * (limit + 1))
        .subquery()
    )
    place = sa.func.row_number().over(partition_by=late.c.run_id, order_by=(late.c.due_at, late.c.id))
    placed = sa.select(late, place.label("place")).subquery()
    return sa.select(*_place(placed.c.run_id, placed.c.due_at, placed.c.id)).where(placed.c.place == 1)


@lru_cache(QUERIES_KEPT)
def _groups(scope: Scope, kinds: tuple[str, ...], of_workflow: bool) -> Query:
    latest = _alike(scope, kinds, of_workflow)
    same = (latest.c.kind, latest.c.alike_in)
    place = sa.func.row_number().over(partition_by=same, order_by=(latest.c.needs_since, latest.c.id)).label("place")
    counted = sa.select(
        latest,
        place,
        sa.func.count().over(partition_by=same).label("number"),
        sa.func.max(latest.c.needs_since, type_=Timestamp).over(partition_by=same).label("last_since"),
    ).subquery()
    order = (counted.c.number.desc(), counted.c.needs_since, counted.c.id)
    largest = (
        sa.select(counted)
        .where(counted.c.place == 1, counted.c.number > 1)
        .order_by(*order)
        .limit(MOST_GROUPS)
        .subquery()
    )
    told: Columns = [largest.c[name] for name in ("kind", "alike_in", "number", "last_since")]
    since = sa.type_coerce(largest.c.needs_since, Timestamp).label("first_since")
    return (
        sa.select(*SUMMARY_COLUMNS, WorkflowRun.error, *told, since)
        .join(largest, largest.c.id == WorkflowRun.id)
        .order_by(largest.c.number.desc(), largest.c.needs_since, largest.c.id)
    )
